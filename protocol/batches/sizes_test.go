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
// batches of 10 s, and the quietest one also in batches of 20 s, must take exactly the bytes that testdata/sizes.txt says. Who makes
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
			fmt.Fprintf(&got, "%s %s: %s\n", name, mode, sizes(t, batches.NewEncoder(s, id), rows, 10*time.Second))
		}
	}
	quiet := load(t, "ev6")
	s, id := quiet.schema(t, protocol.ModeAll)
	fmt.Fprintf(&got, "ev6 all in batches of 20 s: %s\n", sizes(t, batches.NewEncoder(s, id), quiet.rows, 20*time.Second))
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

// sizes encodes rows and says what they took.
func sizes(t *testing.T, e *batches.Encoder, rows []row, age time.Duration) string {
	t.Helper()
	var size, samples, count int
	drive(e, rows, age, func() {
		payload, err := e.Encode(batchestest.Header, nil)
		if err != nil {
			t.Fatal(err)
		}
		size, samples, count = size+len(payload), samples+e.Samples(), count+1
		e.Reset()
	})
	return fmt.Sprintf("%d bytes, %d samples, %d batches, %.4f bytes a sample", size, samples, count, float64(size)/float64(samples))
}
