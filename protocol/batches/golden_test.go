package batches_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/schemas"
)

// golden compares text with testdata/name, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got another %s than stored; stored vehicles' batches would no longer be read:\n%s", name, got)
	}
}

// hexLines writes bytes as lines of 32.
func hexLines(data []byte) string {
	var b strings.Builder
	for len(data) > 0 {
		n := min(32, len(data))
		fmt.Fprintln(&b, hex.EncodeToString(data[:n]))
		data = data[n:]
	}
	return b.String()
}

// goldenPayloads gives one payload for each coding and mode.
func goldenPayloads(t *testing.T) (*schemas.Schema, map[string][]byte) {
	t.Helper()
	payloads := map[string][]byte{}
	s, id := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 1))
	for c, shape := range shapes {
		for _, n := range []int{1, 20, 200} {
			e := batches.NewEncoder(s, id)
			for i, v := range column(rand.New(rand.NewPCG(3, uint64(c))), c, n) {
				e.Add(0, 1_700_000_000_000_000+int64(i)*10_000, []int64{v})
			}
			_, payload := recode(t, e, s)
			payloads[fmt.Sprintf("%s × %d", shape.name, n)] = payload
		}
	}
	return s, payloads
}

// TestGoldenSchema pins the bytes of a schema document and its hash.
func TestGoldenSchema(t *testing.T) {
	doc, hash, err := batchestest.SchemaOf(protocol.ModeOnChange, 2, 1).Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.hex", hash.String()+"\n"+hexLines(doc))
}

// TestGoldenBatches: what once was written is still read. The bytes that are
// written may change with a better choice of codings; then the stored ones stay
// and new ones come beside them.
func TestGoldenBatches(t *testing.T) {
	s, payloads := goldenPayloads(t)
	for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange} {
		payloads["mode "+string(mode)], _ = batchestest.Sample(t, mode, 100)
	}
	if *update {
		text, err := json.MarshalIndent(payloads, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "batches.json", string(text)+"\n")
	}
	text, err := os.ReadFile(filepath.Join("testdata", "batches.json"))
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string][]byte
	if err := json.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	if len(stored) != len(payloads) {
		t.Fatalf("got %d stored batches, want %d", len(stored), len(payloads))
	}
	for name, payload := range payloads {
		schema := s
		if mode, ok := strings.CutPrefix(name, "mode "); ok {
			_, schema = batchestest.Sample(t, protocol.Mode(mode), 1)
		}
		want, err := batches.Decode(payload, schema)
		if err != nil {
			t.Fatal(err)
		}
		got, err := batches.Decode(stored[name], schema)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got another batch from the stored bytes, error %v", name, err)
		}
		if !bytes.Equal(stored[name], payload) {
			t.Logf("%s: %d bytes are written now, %d are stored", name, len(payload), len(stored[name]))
		}
	}
}
