package ingest

import (
	"encoding/binary"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// TestSchemaCache: what is kept is bounded in number and in memory, also when documents are tiny and schemas are huge;
// one that was just read is always kept.
func TestSchemaCache(t *testing.T) {
	words := make(map[int64]string, schemas.MaxColumns)
	for i := range int64(schemas.MaxColumns) {
		words[i] = "a"
	}
	for _, test := range []struct {
		name        string
		schema      *schemas.Schema
		least, most int
	}{
		{"none: a fault", nil, maxCachedSchemas, maxCachedSchemas},
		{"a car's", &schemas.Schema{Signals: make([]signal.Signal, 500)}, maxCachedSchemas, maxCachedSchemas},
		{"a J1939 catalogue's", &schemas.Schema{Signals: make([]signal.Signal, 2400)}, 100, 200},
		{"of many signals", &schemas.Schema{Signals: make([]signal.Signal, schemas.MaxColumns)}, 1, 6},
		{"of long value tables", &schemas.Schema{Signals: []signal.Signal{{Kind: signal.GNSS, Values: words}, {Kind: signal.GNSS, Values: words}}}, 1, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c schemaCache
			for i := range maxCachedSchemas + 20 {
				id := protocol.SchemaID(binary.BigEndian.AppendUint64(nil, uint64(i)))
				c.add(id, cachedSchema{schema: test.schema})
				if _, ok := c.parsed[id]; !ok {
					t.Fatal("the schema that was just read is not kept")
				}
			}
			if n := len(c.parsed); n < test.least || n > test.most {
				t.Errorf("got %d schemas, want %d to %d", n, test.least, test.most)
			}
			if want := len(c.parsed) * footprint(test.schema); c.bytes != want || want > maxCachedBytes {
				t.Errorf("got %d bytes, want %d, at most %d", c.bytes, want, maxCachedBytes)
			}
		})
	}
}
