package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"telltale.dev/protocol"
)

// Schemas keeps schema documents on disk, one file each, named by hash. They
// are written before the first batch that needs them and read again at each
// boot, since the backlog may need the schemas of earlier campaigns.
type Schemas struct{ dir string }

// OpenSchemas uses dir, which is created when missing.
func OpenSchemas(dir string) (*Schemas, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("schema folder: %w", plain(err))
	}
	return &Schemas{dir: dir}, nil
}

// Save keeps doc, on disk when it returns. A document that is there already is not written again.
func (s *Schemas) Save(hash protocol.SchemaHash, doc []byte) error {
	if have, ok := s.Schema(hash); ok && len(have) == len(doc) {
		return nil
	}
	if err := writeDurably(s.path(hash), doc); err != nil {
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

// writeDurably replaces a file so that after a power cut either the old or the
// new content is there. Errors do not name the folder.
func writeDurably(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return plain(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return plain(err)
	}
	return plain(syncFolder(filepath.Dir(path)))
}

// syncFolder puts the names of a folder's files on disk.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readIfThere reads a file; a missing one gives nil.
func readIfThere(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, plain(err)
}

// plain leaves the folder out of an error about a file.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s %s: %w", path.Op, filepath.Base(path.Path), path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return fmt.Errorf("%s %s: %w", link.Op, filepath.Base(link.New), link.Err)
	}
	return err
}
