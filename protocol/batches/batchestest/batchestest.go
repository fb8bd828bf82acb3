// Package batchestest helps the tests of batches, of their schemas and of what shows them.
package batchestest

import (
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// Header is that of every test's batch; the schema is the Encoder's.
var Header = batches.Header{
	ID: protocol.MessageID{Device: "tcu-a", Boot: protocol.BootID{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 7},
}

// SchemaOf makes a schema with groups of the given widths.
func SchemaOf(mode protocol.Mode, widths ...int) *schemas.Schema {
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

// Known encodes a schema and reads it again, as a cloud would have it.
func Known(t testing.TB, s *schemas.Schema) (*schemas.Schema, protocol.SchemaID) {
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

// Sample is a payload with many codings, and its schema.
func Sample(t testing.TB, mode protocol.Mode, rows int) ([]byte, *schemas.Schema) {
	t.Helper()
	s, id := Known(t, SchemaOf(mode, 3, 1, 2))
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
	h := Header
	h.Evicted = []protocol.SeqRange{{Boot: protocol.BootID{5}, From: 3, To: 9}}
	h.Drops = 1234
	payload, err := e.Encode(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return payload, s
}
