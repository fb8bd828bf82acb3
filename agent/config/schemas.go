package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
)

// Schemas keeps schema documents on disk, one file each, named by hash. They
// are written before the first batch that needs them and read again at each
// boot, since the backlog may need the schemas of earlier campaigns. Those that nobody needs any more go at
// the start: see Prune. So there are as many as the backlog and the campaigns of one boot need.
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

// Prune removes the documents that are not needed, and what a crash has left of a write, and gives how many files went. Other
// files stay. It must not be called while somebody saves or collects: a document may be needed before anything shows that.
func (s *Schemas) Prune(needed func(protocol.SchemaHash) bool) (removed int, err error) {
	names, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, name := range names {
		base, half := strings.CutSuffix(name.Name(), suffixHalf)
		text, ours := strings.CutSuffix(base, suffixSchema)
		hash, bad := protocol.ParseSchemaHash(text)
		if !ours || bad != nil || !half && needed(hash) {
			continue
		}
		if failed := os.Remove(filepath.Join(s.dir, name.Name())); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		removed++
	}
	if err = durable.Plain(err); err != nil {
		return removed, fmt.Errorf("remove schemas: %w", err)
	}
	return removed, nil
}

// Endings of names: of documents, and of what durable.Replace has not finished.
const (
	suffixSchema = ".schema"
	suffixHalf   = ".tmp"
)

func (s *Schemas) path(hash protocol.SchemaHash) string {
	return filepath.Join(s.dir, hash.String()+suffixSchema)
}

// readIfThere reads a file; a missing one gives nil.
func readIfThere(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, durable.Plain(err)
}
