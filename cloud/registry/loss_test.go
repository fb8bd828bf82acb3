package registry_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
	"telltale.dev/protocol/events"
)

func TestStorage(t *testing.T) {
	store := &memory{}
	r := open(t, store)
	for _, did := range []protocol.DeviceID{"tcu", "ivi"} {
		if err := r.Register(t.Context(), "car1", did, noon); err != nil {
			t.Fatal(err)
		}
	}
	at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
	word := func(state events.StorageState, name string) events.Storage {
		return events.Storage{Version: 1, Device: "tcu", State: state, Loss: name, Reason: "why " + name}
	}
	first := registry.Loss{Name: "a", State: events.StorageRecreated, Reason: "why a", Told: at(2)}
	over := first
	over.Over = at(4)
	second := registry.Loss{Name: "b", State: events.StorageMemoryOnly, Reason: "why b", Told: at(6)}
	for _, step := range []struct {
		name   string
		minute int
		word   events.Storage
		want   *registry.Loss
		new    bool
	}{
		{"nothing was ever lost", 1, word(events.StorageKept, ""), nil, false},
		{"a loss", 2, word(events.StorageRecreated, "a"), &first, true},
		{"the same again", 3, word(events.StorageRecreated, "a"), &first, false},
		{"a start that found its data", 4, word(events.StorageKept, ""), &over, true},
		{"another one", 5, word(events.StorageKept, ""), &over, false},
		{"the loss again, late", 5, word(events.StorageRecreated, "a"), &over, false},
		{"another loss", 6, word(events.StorageMemoryOnly, "b"), &second, true},
		{"the first is read again from the stream", 2, word(events.StorageRecreated, "a"), &second, false},
		{"and what followed it", 4, word(events.StorageKept, ""), &second, false},
	} {
		changed, err := r.Storage(t.Context(), "car1", step.word, at(step.minute))
		v, _ := r.Vehicle("car1")
		if err != nil || changed != step.new || !reflect.DeepEqual(v.Devices[0].Loss, step.want) || v.Devices[1].Loss != nil {
			t.Errorf("%s: got %v, %v, %+v; want %v, %+v", step.name, changed, err, v.Devices, step.new, step.want)
		}
		if again := open(t, store); !reflect.DeepEqual(again.Vehicles(), r.Vehicles()) {
			t.Errorf("%s: got %+v from the store, want %+v", step.name, again.Vehicles(), r.Vehicles())
		}
	}
	if changed, err := r.Storage(t.Context(), "car2", word(events.StorageKept, ""), noon); changed || !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("unknown vehicle: got %v, %v", changed, err)
	}
	store.fail = errors.New("disk full")
	if changed, err := r.Storage(t.Context(), "car1", word(events.StorageRecreated, "c"), at(9)); changed || !errors.Is(err, store.fail) {
		t.Errorf("disk full: got %v, %v", changed, err)
	}
}
