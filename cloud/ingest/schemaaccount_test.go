package ingest

import (
	"errors"
	"fmt"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// TestSchemaAccount: a car may bring all its documents, also when each is for a whole J1939 catalogue; what is small
// only as long as it is compressed counts as what it is, also when it is compressed twice.
func TestSchemaAccount(t *testing.T) {
	s := schemas.Schema{
		Version: schemas.Version2, Campaign: "everything", Rule: "all", Tick: 1000, Mode: protocol.ModeAll,
		Signals: make([]signal.Signal, schemas.MaxColumns),
	}
	for i := range s.Signals {
		s.Signals[i] = signal.Signal{Kind: signal.GNSS, Name: "a"}
	}
	doc, _, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := compress.Pack(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		size, plain int
		least, most int
	}{
		{"a car", 10_000, 40_000, maxNewSchemas, maxNewSchemas},
		{"a whole J1939 catalogue", 37_574, 227_614, 223, maxNewSchemas},
		{"the version before", 30_000, 0, maxNewSchemas, maxNewSchemas},
		{"equal signals", len(packed), plainSize(doc), 1, 60},
		{"equal signals, compressed twice", len(packed), plainSize(packed), 1, 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			var a schemaAccount
			n := 0
			for ; n <= maxNewSchemas; n++ {
				err = a.add(schemaEntry{ID: fmt.Sprint(n), Size: test.size, Plain: test.plain, Day: 20_000})
				if err != nil {
					break
				}
			}
			if n < test.least || n > test.most || !errors.Is(err, ErrFull) {
				t.Errorf("got %d documents of %d bytes and %v, want %d to %d and ErrFull", n, test.plain, err, test.least, test.most)
			}
			if err := a.add(schemaEntry{ID: "later", Size: test.size, Plain: test.plain, Day: 20_000 + newSchemaDays}); err != nil {
				t.Errorf("after a month: %v", err)
			}
		})
	}
}
