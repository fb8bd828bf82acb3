package config_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent/config"
	"telltale.dev/protocol"
)

// TestPrune: what is needed stays, as does what is none of ours; half a document goes.
func TestPrune(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "schemas")
	s, err := config.OpenSchemas(dir)
	if err != nil {
		t.Fatal(err)
	}
	var hashes [3]protocol.SchemaHash
	for i := range hashes {
		doc := []byte{byte(i)}
		hashes[i] = sha256.Sum256(doc)
		if err := s.Save(hashes[i], doc); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{hashes[0].String() + ".schema.tmp", "README", "x.schema"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	needed := func(h protocol.SchemaHash) bool { return h == hashes[1] }
	if n, err := s.Prune(needed); n != 3 || err != nil {
		t.Errorf("got %d removed, %v, want 3", n, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("got %v, %v, want the needed one and two files of others", left, err)
	}
	if _, ok := s.Schema(hashes[1]); !ok {
		t.Error("the needed one is gone")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(needed); n != 0 || err != nil {
		t.Errorf("without a folder: got %d, %v", n, err)
	}
}
