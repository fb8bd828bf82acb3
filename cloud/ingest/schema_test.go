package ingest_test

import (
	"crypto/sha256"
	"testing"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// TestSchemaVersions: a schema of any kind of signals, with fields that this version does not know, reaches the lake
// as it is; one that must be understood, or is of a later version, is set aside by itself with a reason of its own.
func TestSchemaVersions(t *testing.T) {
	tests := []struct {
		name  string
		more  map[string]any
		wants reasons.Reason
	}{
		{"a field of a later version", map[string]any{"origin": "factory"}, ""},
		{"one that must be understood", map[string]any{"origin": "factory", "must": []string{"origin"}}, reasons.NotSupported},
		{"a later version", map[string]any{"v": 3}, reasons.NotSupported},
		{"damaged", map[string]any{"tick": 0}, reasons.Undecodable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			k := *b.maker
			k.doc = positions(t, test.more)
			k.hash = sha256.Sum256(k.doc)
			if err := b.schemas.PutSchema(t.Context(), k.hash, k.doc); err != nil {
				t.Fatal(err)
			}
			k.send(b.up, 1)
			b.maker.send(b.up, 2)
			p, stop := b.start()
			b.flush(p)
			letters, want := b.dead.all(), 2
			if test.wants != "" {
				want = 1
				if len(letters) != 1 || letters[0].Header[ingest.HeaderReason] != string(test.wants) {
					t.Errorf("got %d letters %v, want one for %s", len(letters), letters, test.wants)
				}
			}
			if count := stored(t, b.dir); len(count) != want {
				t.Errorf("got rows of %d batches, want %d", len(count), want)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// positions is a schema document of a receiver's signals with more, or other, fields.
func positions(t *testing.T, more map[string]any) []byte {
	t.Helper()
	s := schemas.Schema{
		Version: schemas.Version2, Campaign: "everything", Rule: "all", Tick: 1000, Mode: protocol.ModeAll,
		Signals: []signal.Signal{
			{Kind: signal.GNSS, Bus: "gnss0", Message: "fix", Name: "latitude", Unit: "deg", IEEE: 64},
			{Kind: "later", Bus: "gnss0", Message: "fix", Name: "satellites"},
		},
		Groups: [][]uint32{{0, 1}},
	}
	doc, _, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := document.Unmarshal(doc, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range more {
		fields[name] = value
	}
	if doc, err = document.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	return doc
}
