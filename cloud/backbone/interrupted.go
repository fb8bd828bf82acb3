package backbone

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/minio/highwayhash"

	"telltale.dev/hal/durable"
)

// The names that JetStream gives to a stream's settings and to their checksum. It writes
// the one, then the other, and skips a stream that has no checksum: a process that was
// killed between the two writes would lose the stream, or never start again.
const (
	settingsName = "meta.inf"
	checksumName = "meta.sum"
)

// finishInterrupted brings streams of the directory in order whose settings were being
// written when the process ended. Whole settings are kept: JetStream replaces them in
// one step. Without them a stream that holds no message was being made: it is removed,
// and made anew. Any other one is damaged and left alone, and Open refuses it; so it
// does settings whose checksum does not fit.
func finishInterrupted(dir string) error {
	streams := filepath.Join(dir, storeName, "$G", "streams")
	entries, err := os.ReadDir(streams)
	if err != nil {
		return nil // there is none yet, or JetStream says what is wrong
	}
	filled, err := storedStreams(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(streams, e.Name())
		if _, err := os.Stat(filepath.Join(path, checksumName)); !e.IsDir() || !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		whole, err := writeChecksum(path, e.Name())
		if err == nil && !whole && !slices.Contains(filled, e.Name()) {
			err = os.RemoveAll(path)
		}
		if err != nil {
			return fmt.Errorf("stream %s, whose settings were being written: %w", e.Name(), err)
		}
	}
	return nil
}

// writeChecksum writes the checksum of a stream's settings, if they are whole and the stream's; it says whether they are.
func writeChecksum(path, name string) (whole bool, err error) {
	settings, err := os.ReadFile(filepath.Join(path, settingsName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var meta struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(settings, &meta) != nil || meta.Name != name {
		return false, nil
	}
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return false, err
	}
	hash.Write(settings)
	return true, durable.ReplaceMode(filepath.Join(path, checksumName), []byte(hex.EncodeToString(hash.Sum(nil))), 0o640)
}

// beginSettings makes a change of a stream's settings safe: without a checksum
// finishInterrupted takes whichever settings are on disk, the old or the new ones.
func (e *embedded) beginSettings(name string) error {
	err := os.Remove(filepath.Join(e.dir.path, storeName, "$G", "streams", name, checksumName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
