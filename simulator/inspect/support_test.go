package inspect_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
	"telltale.dev/simulator/inspect"
)

// FuzzInspect: whatever is shown can be shown as JSON.
func FuzzInspect(f *testing.F) {
	payload, s := batchestest.Sample(f, protocol.ModeAll, 9)
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
	s := batchestest.SchemaOf(protocol.ModeAll, 1)
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
	payload, _ := batchestest.Sample(t, protocol.ModeAll, 3)
	plain, err := batches.Unpack(payload)
	if err != nil {
		t.Fatal(err)
	}
	return plain[:30]
}
