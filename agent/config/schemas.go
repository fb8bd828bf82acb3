package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
)

// Schemas keeps schema documents on disk, one file each, named by hash. They
// are written before the first batch that needs them and read again at each
// boot, since the backlog may need the schemas of earlier campaigns.
type Schemas struct{ dir string }

// OpenSchemas uses dir, which is created when missing: with the first schema, when the disk has no room for it yet.
func OpenSchemas(dir string) (*Schemas, error) {
	err := os.MkdirAll(dir, 0o700)
	if err != nil && !durable.LacksRoom(err) {
		return nil, fmt.Errorf("schema folder: %w", durable.Plain(err))
	}
	return &Schemas{dir: dir}, nil
}

// Save keeps doc, on disk when it returns. A document that is there already is not written again.
func (s *Schemas) Save(hash protocol.SchemaHash, doc []byte) error {
	if have, ok := s.Schema(hash); ok && len(have) == len(doc) {
		return nil
	}
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = durable.Replace(s.path(hash), doc)
	}
	if err = durable.Plain(err); err != nil {
		return fmt.Errorf("keep schema: %w", err)
	}
	return nil
}

// Schema gives the document with that hash; a file whose content does not have it counts as missing.
func (s *Schemas) Schema(hash protocol.SchemaHash) ([]byte, bool) {
	doc, err := os.ReadFile(s.path(hash))
	if err != nil || sha256.Sum256(doc) != hash {
		return nil, false
	}
	return doc, true
}

func (s *Schemas) path(hash protocol.SchemaHash) string {
	return filepath.Join(s.dir, hash.String()+".schema")
}

// readIfThere reads a file; a missing one gives nil.
func readIfThere(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, durable.Plain(err)
}
