package batches_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
)

// TestSizes keeps the bytes on the wire: each recording, every sample or only changes, in
// batches of 10 s, must take exactly the bytes that testdata/sizes.txt says. Who makes
// them fewer writes the file anew with -update; who makes them more says why.
func TestSizes(t *testing.T) {
	var got strings.Builder
	for _, name := range names {
		r := load(t, name)
		for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange} {
			s, id := r.schema(t, mode)
			rows := r.rows
			if mode == protocol.ModeOnChange {
				rows = r.changes(s)
			}
			e := batches.NewEncoder(s, id)
			var size, samples, batches int
			drive(e, rows, 10*time.Second, func() {
				payload, err := e.Encode(batchestest.Header, nil)
				if err != nil {
					t.Fatal(err)
				}
				size, samples, batches = size+len(payload), samples+e.Samples(), batches+1
				e.Reset()
			})
			fmt.Fprintf(&got, "%s %s: %d bytes, %d samples, %d batches, %.4f bytes a sample\n", name, mode, size, samples, batches, float64(size)/float64(samples))
		}
	}
	golden := filepath.Join("testdata", "sizes.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
