package registry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// memory is a Store.
type memory struct {
	mu      sync.Mutex // guards entries
	entries map[string][]byte
	fail    error
	during  func() // called by Put
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	if m.during != nil {
		m.during()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.entries == nil {
		m.entries = map[string][]byte{}
	}
	m.entries[key] = value
	return nil
}

func (m *memory) List(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.entries), nil
}

func open(t interface {
	Helper()
	Fatal(...any)
}, store registry.Store) *registry.Registry {
	t.Helper()
	r, err := registry.Open(context.Background(), store)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLifecycle(t *testing.T) {
	store := &memory{}
	r := open(t, store)
	steps := []struct {
		name   string
		do     func() error
		err    error
		active error // of car1, tcu
	}{
		{"nothing", func() error { return nil }, nil, registry.ErrUnknown},
		{"suspend nobody", func() error { return r.SetState(t.Context(), "car1", registry.Suspended) }, registry.ErrUnknown, registry.ErrUnknown},
		{"another device", func() error { return r.Register(t.Context(), "car1", "ivi", noon) }, nil, registry.ErrUnknown},
		{"the device", func() error { return r.Register(t.Context(), "car1", "tcu", noon) }, nil, nil},
		{"suspend", func() error { return r.SetState(t.Context(), "car1", registry.Suspended) }, nil, registry.ErrNotActive},
		{"register again", func() error { return r.Register(t.Context(), "car1", "tcu", noon) }, nil, registry.ErrNotActive},
		{"activate", func() error { return r.SetState(t.Context(), "car1", registry.Active) }, nil, nil},
		{"activate again", func() error { return r.SetState(t.Context(), "car1", registry.Active) }, nil, nil},
	}
	for _, s := range steps {
		if err := s.do(); !errors.Is(err, s.err) {
			t.Errorf("%s: got %v, want %v", s.name, err, s.err)
		}
		if err := r.Active("car1", "tcu"); !errors.Is(err, s.active) {
			t.Errorf("after %s: got %v, want %v", s.name, err, s.active)
		}
		if again := open(t, store); !reflect.DeepEqual(again.Vehicles(), r.Vehicles()) {
			t.Errorf("after %s: got %+v from the store, want %+v", s.name, again.Vehicles(), r.Vehicles())
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	store := &memory{fail: errors.New("disk full")}
	r := open(t, store)
	if err := r.Register(t.Context(), "car1", "tcu", noon); !errors.Is(err, store.fail) {
		t.Errorf("got %v, want %v", err, store.fail)
	}
	if len(r.Vehicles()) != 0 {
		t.Errorf("got %v, want nothing registered that is not on disk", r.Vehicles())
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, entries := range map[string]map[string][]byte{
		"no JSON":   {"car1": []byte("{")},
		"wrong key": {"car2": []byte(`{"vid":"car1"}`)},
	} {
		if _, err := registry.Open(t.Context(), &memory{entries: entries}); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestMaxDevices(t *testing.T) {
	r := open(t, &memory{})
	for i := range registry.MaxDevices {
		if err := r.Register(t.Context(), "car1", protocol.DeviceID(fmt.Sprint("d", i)), noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Register(t.Context(), "car1", "more", noon); !errors.Is(err, registry.ErrFull) {
		t.Errorf("got %v, want %v", err, registry.ErrFull)
	}
}

// TestChecksDoNotWait: while a change waits for the disk, checks are answered from what is on it.
func TestChecksDoNotWait(t *testing.T) {
	store := &memory{}
	r := open(t, store)
	checked := false
	store.during = func() {
		if err := r.Active("car1", "tcu"); !errors.Is(err, registry.ErrUnknown) {
			t.Errorf("got %v, want %v", err, registry.ErrUnknown)
		}
		checked = true
	}
	if err := r.Register(t.Context(), "car1", "tcu", noon); err != nil || !checked {
		t.Errorf("got %v, checked %v", err, checked)
	}
}

// TestAtOnce registers devices of few vehicles from many goroutines: none gets lost.
func TestAtOnce(t *testing.T) {
	store := &memory{}
	r := open(t, store)
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			vid, did := protocol.VehicleID(fmt.Sprint("car", i%5)), protocol.DeviceID(fmt.Sprint("d", i/5))
			if err := r.Register(context.Background(), vid, did, noon); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, v := range open(t, store).Vehicles() {
		if len(v.Devices) != 40 {
			t.Errorf("%s: got %d devices, want 40", v.ID, len(v.Devices))
		}
	}
}

// TestAgainstModel: any order of changes gives what a plain map would hold, also after a restart.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := &memory{}
		r, suspended, devices := open(t, store), map[string]bool{}, map[[2]string]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			vid := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "vid")
			_, known := suspended[vid]
			switch rapid.SampledFrom([]string{"register", "suspend", "activate", "restart"}).Draw(t, "step") {
			case "register":
				did := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "did")
				if err := r.Register(context.Background(), protocol.VehicleID(vid), protocol.DeviceID(did), noon); err != nil {
					t.Fatal(err)
				}
				if devices[[2]string{vid, did}] = true; !known {
					suspended[vid] = false
				}
			case "suspend", "activate":
				state := map[bool]registry.Lifecycle{true: registry.Suspended, false: registry.Active}
				off := rapid.Bool().Draw(t, "off")
				if err := r.SetState(context.Background(), protocol.VehicleID(vid), state[off]); (err == nil) != known {
					t.Fatalf("got %v, known is %v", err, known)
				}
				if known {
					suspended[vid] = off
				}
			case "restart":
				r = open(t, store)
			}
			for _, vid := range []string{"a", "b", "c"} {
				for _, did := range []string{"x", "y"} {
					var want error
					switch {
					case !devices[[2]string{vid, did}]:
						want = registry.ErrUnknown
					case suspended[vid]:
						want = registry.ErrNotActive
					}
					if got := r.Active(protocol.VehicleID(vid), protocol.DeviceID(did)); !errors.Is(got, want) || got == nil != (want == nil) {
						t.Fatalf("%s %s: got %v, want %v", vid, did, got, want)
					}
				}
			}
		}
	})
}

// TestDelete: a deleted vehicle is gone, also after a restart, and can be registered anew.
func TestDelete(t *testing.T) {
	store := &memory{}
	r := open(t, store)
	if err := r.Delete(t.Context(), "car"); !errors.Is(err, registry.ErrUnknown) || r.WasDeleted("car") {
		t.Errorf("got %v, want %v", err, registry.ErrUnknown)
	}
	for _, did := range []protocol.DeviceID{"a", "b"} {
		if err := r.Register(t.Context(), "car", did, noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Delete(t.Context(), "car"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*registry.Registry{r, open(t, store)} {
		_, known := r.Vehicle("car")
		if known || len(r.Vehicles()) != 0 || !r.WasDeleted("car") || !errors.Is(r.Active("car", "a"), registry.ErrUnknown) {
			t.Errorf("got known %v, %v, deleted %v", known, r.Vehicles(), r.WasDeleted("car"))
		}
	}
	for _, r := range []*registry.Registry{r, open(t, store)} {
		if err := r.Register(t.Context(), "car", "a", noon); !errors.Is(err, registry.ErrLeaving) || len(r.Leaving()) != 1 {
			t.Errorf("got %v with %v leaving, want %v", err, r.Leaving(), registry.ErrLeaving)
		}
	}
	if err := r.Gone(t.Context(), "car"); err != nil || !r.WasDeleted("car") || len(r.Leaving())+len(open(t, store).Leaving()) != 0 {
		t.Errorf("got %v and %v leaving, want it deleted and gone", err, r.Leaving())
	}
	if err := r.Register(t.Context(), "car", "a", noon); err != nil {
		t.Fatal(err)
	}
	if err := r.Gone(t.Context(), "car"); err != nil {
		t.Error(err)
	}
	if v, ok := r.Vehicle("car"); !ok || len(v.Devices) != 1 || v.State != registry.Active || r.WasDeleted("car") {
		t.Errorf("got %+v, want a new vehicle with one device", v)
	}
}
