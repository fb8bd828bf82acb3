package state_test

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

const car protocol.VehicleID = "car1"

// noon is when the tests take place; source times count in seconds from then.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(seconds float64) int64 { return noon.UnixMicro() + int64(seconds*1e6) }

// schema has n signals s0, s1, … all in group 0, and the first one alone in group 1.
func schema(n int) *schemas.Schema {
	s := &schemas.Schema{Version: 1, Campaign: "test", Rule: "all", Tick: 1000, Mode: protocol.ModeAll}
	var all []uint32
	for i := range n {
		s.Signals = append(s.Signals, signal.Signal{
			Name: "s" + strconv.Itoa(i), Message: "M", Bus: "can0", Unit: "km/h", Scale: "0.5", CAN: &signal.Bits{Length: 16},
			Values: map[int64]string{3: "three"},
		})
		all = append(all, uint32(i))
	}
	s.Groups = [][]uint32{all, {0}}
	return s
}

// column makes a batch of one row group with the same raw values in each column.
func column(group, columns int, times []int64, raw []int64, present []uint64) *batches.Batch {
	g := batches.GroupRows{Group: group, Time: times}
	for range columns {
		g.Columns = append(g.Columns, raw)
		if present != nil {
			g.Present = append(g.Present, present)
		}
	}
	return &batches.Batch{Header: batches.Header{Schema: protocol.SchemaID{byte(columns)}}, Rows: []batches.GroupRows{g}}
}

// one makes a batch with one sample of s0.
func one(t int64, raw int64) *batches.Batch { return column(0, 1, []int64{t}, []int64{raw}, nil) }

func key(n int) state.Key { return state.Key{Bus: "can0", Message: "M", Signal: "s" + strconv.Itoa(n)} }

// value gives the last known value of s0.
func value(t *testing.T, s *state.States) state.Value {
	t.Helper()
	all := s.Values(car)
	if len(all) == 0 {
		t.Fatal("got no values")
	}
	return all[0]
}

// memory is a Store.
type memory struct {
	mu      sync.Mutex // guards entries
	entries map[string][]byte
	fail    func(key string) bool
}

var errStore = errors.New("store refuses")

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil && m.fail(key) {
		return errStore
	}
	if m.entries == nil {
		m.entries = map[string][]byte{}
	}
	m.entries[key] = value
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil && m.fail(key) {
		return errStore
	}
	delete(m.entries, key)
	return nil
}

func (m *memory) List(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.entries), nil
}
