package inspect_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
	"telltale.dev/simulator/inspect"
)

// header is that of every test's batch; the schema is the Encoder's.
var header = batches.Header{
	ID: protocol.MessageID{Device: "tcu-a", Boot: protocol.BootID{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 7},
}

// schemaOf makes a schema with groups of the given widths.
func schemaOf(mode protocol.Mode, widths ...int) *schemas.Schema {
	s := &schemas.Schema{
		Version: 1, Campaign: "everything", Rule: "all", Tick: 1000, Mode: mode, Files: [][32]byte{{1}, {2}},
	}
	for g, width := range widths {
		var members []uint32
		for i := range width {
			members = append(members, uint32(len(s.Signals)))
			s.Signals = append(s.Signals, signal.Signal{
				Name: "speed", Unit: "km/h", Message: "SPEED", Bus: "can0", CAN: &signal.Bits{ID: can.ID(g) | can.Extended, Start: 8 * i, Length: 8}, Scale: "0.1", Offset: "-3", Values: map[int64]string{0: "off", -1: "on"},
			})
		}
		s.Groups = append(s.Groups, members)
	}
	return s
}

// known encodes a schema and reads it again, as a cloud would have it.
func known(t testing.TB, s *schemas.Schema) (*schemas.Schema, protocol.SchemaID) {
	t.Helper()
	doc, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err = schemas.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return s, hash.ID()
}

// sample is a payload with many codings, and its schema.
func sample(t testing.TB, mode protocol.Mode, rows int) ([]byte, *schemas.Schema) {
	t.Helper()
	s, id := known(t, schemaOf(mode, 3, 1, 2))
	e := batches.NewEncoder(s, id)
	for i := range rows {
		at, v := 1_700_000_000_000_000+int64(i)*10_100, int64(i)
		raws := [][]int64{{v, v % 5, -9}, {v / 30}, {v * v * v, -v}}
		if mode == protocol.ModeOnChange {
			e.AddChanged(0, at, raws[0], []uint64{uint64(1 + i%3)})
			e.AddChanged(2, at, raws[2], []uint64{uint64(i%40/39 | 2)})
			continue
		}
		for g, raw := range raws {
			e.Add(g, at, raw)
		}
	}
	h := header
	h.Evicted = []protocol.SeqRange{{Boot: protocol.BootID{5}, From: 3, To: 9}}
	h.Drops = 1234
	payload, err := e.Encode(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return payload, s
}

// FuzzInspect: whatever is shown can be shown as JSON.
func FuzzInspect(f *testing.F) {
	payload, s := sample(f, protocol.ModeAll, 9)
	f.Add(payload)
	f.Add([]byte(campaignYAML))
	f.Add(documenttest.Marshal(f, protocol.Presence{Version: 1, State: protocol.PresenceOnline, Device: "tcu-a", Connection: 1}))
	f.Add(documenttest.Marshal(f, campaigns.Set{Version: 1, Revision: 2, Campaigns: []campaigns.Campaign{campaigns.Everything()}}))
	f.Add([]byte{0xA1, 0x20, 0x41, 0xFF})
	f.Add(append(bytes.Clone(payload), '\n'))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, ok := range []bool{true, false} {
			v, what, err := inspect.Payload(data, func(protocol.SchemaID) (*schemas.Schema, bool) { return s, ok })
			if err != nil {
				continue
			}
			if _, err := json.Marshal(v); err != nil || what == "" {
				t.Errorf("got %q, error %v", what, err)
			}
		}
	})
}

// TestSignalKinds: a schema shows what is no CAN signal with its kind.
func TestSignalKinds(t *testing.T) {
	s := schemaOf(protocol.ModeAll, 1)
	s.Version = 2
	s.Signals = append(s.Signals, signal.Signal{Kind: signal.GNSS, Bus: "gnss0", Message: "fix", Name: "latitude", Unit: "deg", IEEE: 64, Scale: "1", Offset: "0"})
	s.Groups = append(s.Groups, []uint32{1})
	doc, _, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	view, what, err := inspect.Payload(doc, nil)
	text, _ := json.Marshal(view)
	if err != nil || what != inspect.Schema || !bytes.Contains(text, []byte(`"kind":"gnss"`)) || bytes.Count(text, []byte(`"start"`)) != 1 {
		t.Errorf("got %s %s, error %v", what, text, err)
	}
}

// brokenBatch is an unpacked batch that ends too early.
func brokenBatch(t *testing.T) []byte {
	t.Helper()
	payload, _ := sample(t, protocol.ModeAll, 3)
	plain, err := batches.Unpack(payload)
	if err != nil {
		t.Fatal(err)
	}
	return plain[:30]
}
