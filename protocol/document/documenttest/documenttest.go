// Package documenttest helps the tests of documents.
package documenttest

import (
	"testing"

	"telltale.dev/protocol/document"
)

// Marshal writes v, or ends the test.
func Marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := document.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// SameAgain tests that a value which was read from data is read the same from what is
// written of it. (CBOR that is not deterministic is read, too.)
func SameAgain[T comparable](t *testing.T, data []byte, v T) {
	t.Helper()
	again := Marshal(t, v)
	var second T
	if err := document.Unmarshal(again, &second); err != nil || second != v || len(again) > len(data)+64 {
		t.Errorf("got %+v, %v; want %+v", second, err, v)
	}
}
