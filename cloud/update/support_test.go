package update_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/cloud/update"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a room with a store in memory and a clock that the test sets.
type bench struct {
	t   *testing.T
	dir string
	key *ecdsa.PrivateKey

	mu        sync.Mutex // guards what follows
	entries   map[string][]byte
	refuse    bool
	now       time.Time
	delivered []updates.Update
	devices   map[protocol.VehicleID][]protocol.DeviceID
}

func newBench(t *testing.T) *bench {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{
		t: t, dir: t.TempDir(), key: key, entries: map[string][]byte{}, now: time.Unix(1_800_000_000, 0),
		devices: map[protocol.VehicleID][]protocol.DeviceID{"car": {"tcu"}, "bus": {"tcu", "ivi"}},
	}
}

func (b *bench) Put(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse {
		return errors.New("disk refuses")
	}
	b.entries[key] = value
	return nil
}

func (b *bench) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse {
		return errors.New("disk refuses")
	}
	delete(b.entries, key)
	return nil
}

func (b *bench) List(context.Context) (map[string][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.entries), nil
}

func (b *bench) config() update.Config {
	return update.Config{
		Dir: b.dir, Store: b, Log: slog.New(slog.DiscardHandler), Now: b.clock,
		Devices: func(vid protocol.VehicleID) ([]protocol.DeviceID, bool) { list, ok := b.devices[vid]; return list, ok },
		Deliver: func(m update.Message) {
			var doc updates.Update
			if err := document.Unmarshal(m.Payload, &doc); err != nil {
				b.t.Error(err)
			}
			if m.Topic.Kind != topics.Config || m.Topic.Name != "update" || doc.Validate() != nil {
				b.t.Errorf("got %+v with %+v", m.Topic, doc)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.delivered = append(b.delivered, doc)
		},
	}
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) later(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) open(edit ...func(*update.Config)) *update.Updates {
	b.t.Helper()
	cfg := b.config()
	for _, e := range edit {
		e(&cfg)
	}
	u, err := update.Open(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// file is a signed update file.
func (b *bench) file(release uint64, n int) []byte {
	b.t.Helper()
	var out bytes.Buffer
	m := firmware.Manifest{Board: "board", Version: "2.0", Release: release}
	if _, err := firmware.Sign(&out, m, bytes.NewReader(bytes.Repeat([]byte{byte(release)}, n)), b.key); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

// begun uploads a file and starts the update of the car.
func (b *bench) begun(u *update.Updates) update.Execution {
	b.t.Helper()
	f, err := u.Upload(b.t.Context(), bytes.NewReader(b.file(7, 1000)))
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := u.Start(b.t.Context(), update.Request{Vehicle: "car", File: f.Hash})
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// say is a word of the car's device on an update.
func (b *bench) say(u *update.Updates, id updates.ID, seq uint64, s updates.State, bytes int64) *update.Execution {
	b.t.Helper()
	f := updates.Feedback{
		Version: 1, Device: "tcu", Update: id, State: s, Sequence: seq, Bytes: bytes, Running: updates.Running{Version: "1.0", Slot: "A"},
	}
	if err := u.Report(b.t.Context(), "car", f); err != nil {
		b.t.Fatal(err)
	}
	e, _ := u.Status("car")
	return e
}

func (b *bench) last() updates.Update {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.delivered[len(b.delivered)-1]
}

func hashOf(file []byte) updates.FileHash { return sha256.Sum256(file) }
