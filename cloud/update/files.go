package update

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
)

// Errors of files.
var (
	// ErrTooLarge: the file is larger than Config.MaxFile.
	ErrTooLarge = errors.New("update file is too large")
	// ErrNoSpace: the disk has no room for the file.
	ErrNoSpace = errors.New("no space for the update file")
	// ErrBusy: too many uploads at once.
	ErrBusy = errors.New("too many uploads at once")
	// ErrInUse: an update that is under way needs the file.
	ErrInUse = errors.New("an update under way needs the file")
)

const (
	fileSuffix = ".update"
	incoming   = "incoming-"
	// damagedSuffix follows the name of a file that was set aside.
	damagedSuffix = ".damaged"
)

// File is an update file that is kept.
type File struct {
	Hash     updates.FileHash `cbor:"hash"`
	Size     int64            `cbor:"size"` // of the whole file
	Board    string           `cbor:"board"`
	Version  string           `cbor:"version"`
	Release  uint64           `cbor:"release"`
	Key      string           `cbor:"key"`                // id of the key that signed it
	Uploaded int64            `cbor:"uploaded,omitempty"` // when the file appeared, ms since the Unix epoch

	identity [32]byte // of the signed header; not stored
}

func fileOf(h *firmware.Header, hash updates.FileHash, size int64, at time.Time) (File, error) {
	m := h.Manifest
	identity, err := h.Identity()
	return File{
		Hash: hash, Size: size, Board: m.Board, Version: m.Version, Release: m.Release, Key: h.Key().String(), Uploaded: at.UnixMilli(),
		identity: identity,
	}, err
}

// twin gives the kept file that is the same update with the other twin of its signature, or with the same.
func (u *Updates) twin(h *firmware.Header) (File, bool) {
	identity, err := h.Identity()
	u.mu.RLock()
	defer u.mu.RUnlock()
	for _, f := range u.files {
		if err == nil && f.identity == identity {
			return f, true
		}
	}
	return File{}, false
}

// loadFiles lists the kept files, and removes what an upload left that was cut short.
// A file that is damaged is set aside under a name of its own.
func loadFiles(dir string, log *slog.Logger) (map[updates.FileHash]File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, plain(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, plain(err)
	}
	files := map[updates.FileHash]File{}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), incoming) {
			if err := os.Remove(path); err != nil {
				return nil, plain(err)
			}
			continue
		}
		name, ok := strings.CutSuffix(entry.Name(), fileSuffix)
		hash, err := updates.ParseFileHash(name)
		if !ok || err != nil {
			continue
		}
		f, err := describe(path, hash)
		if errors.Is(err, firmware.ErrNotUpdate) || errors.Is(err, firmware.ErrTruncated) {
			log.Error("an update file is damaged and set aside; upload it again", "file", entry.Name(), "err", err)
			if err := os.Rename(path, path+damagedSuffix); err != nil {
				return nil, plain(err)
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name(), err)
		}
		files[hash] = f
	}
	return files, nil
}

// describe reads the header of a kept file, and holds the file's size against it.
func describe(path string, hash updates.FileHash) (File, error) {
	file, err := os.Open(path)
	if err != nil {
		return File{}, plain(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return File{}, plain(err)
	}
	h, err := firmware.ReadHeader(file)
	if err != nil {
		return File{}, err
	}
	if size, err := h.FileSize(); err != nil || size != info.Size() {
		return File{}, fmt.Errorf("%d bytes, expected %d: %w", info.Size(), size, firmware.ErrTruncated)
	}
	return fileOf(h, hash, info.Size(), info.ModTime())
}

// File gives one kept file.
func (u *Updates) File(hash updates.FileHash) (File, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	f, ok := u.files[hash]
	return f, ok
}

// Files lists the kept files, newest first.
func (u *Updates) Files() []File {
	u.mu.RLock()
	list := make([]File, 0, len(u.files))
	for _, f := range u.files {
		list = append(list, f)
	}
	u.mu.RUnlock()
	slices.SortFunc(list, func(a, b File) int {
		if c := cmp.Compare(b.Uploaded, a.Uploaded); c != 0 {
			return c
		}
		return strings.Compare(a.Hash.String(), b.Hash.String())
	})
	return list
}

func (u *Updates) path(hash updates.FileHash) string {
	return filepath.Join(u.cfg.Dir, hash.String()+fileSuffix)
}

// Upload keeps an update file, on disk when it returns. The header is checked
// before more is read, then the payload while it is written. The same file again
// changes nothing, nor does one whose signature is the twin of a kept one's. The error wraps one of this package's, one of package firmware's, or is r's own.
func (u *Updates) Upload(_ context.Context, r io.Reader) (File, error) {
	select {
	case u.uploads <- struct{}{}:
		defer func() { <-u.uploads }()
	default:
		return File{}, ErrBusy
	}
	f, err := u.receive(r)
	if err != nil {
		u.stats.refusedUploads.Add(1)
		return File{}, err
	}
	u.stats.uploads.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if have, ok := u.files[f.Hash]; ok {
		return have, nil
	}
	u.files[f.Hash] = f
	return f, nil
}

func (u *Updates) receive(r io.Reader) (File, error) {
	tmp, err := os.CreateTemp(u.cfg.Dir, incoming+"*")
	if err != nil {
		return File{}, spaceError(err)
	}
	defer os.Remove(tmp.Name()) // harmless once it is renamed
	defer tmp.Close()
	digest := sha256.New()
	through := io.TeeReader(r, io.MultiWriter(digest, writeError{tmp}))
	h, err := firmware.ReadHeader(through)
	if err != nil {
		return File{}, err
	}
	if err := u.acceptable(h); err != nil {
		return File{}, err
	}
	announced, err := u.announce(h)
	if err != nil {
		return File{}, err
	}
	defer announced.release()
	if _, err := io.Copy(announced, h.Payload(through)); err != nil {
		return File{}, err
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return File{}, spaceError(err)
	}
	hash := updates.FileHash(digest.Sum(nil))
	if have, ok := u.twin(h); ok && have.Hash != hash { // the same file takes its place: it may be damaged on disk
		return have, nil
	}
	if err := os.Rename(tmp.Name(), u.path(hash)); err != nil {
		return File{}, plain(err)
	}
	if err := durable.SyncFolder(u.cfg.Dir); err != nil {
		return File{}, plain(err)
	}
	return describe(u.path(hash), hash)
}

// acceptable says what stands against a file before its payload is read.
func (u *Updates) acceptable(h *firmware.Header) error {
	size, err := h.FileSize()
	if err != nil {
		return err
	}
	if size > u.cfg.MaxFile {
		return fmt.Errorf("%d bytes, expected at most %d: %w", size, u.cfg.MaxFile, ErrTooLarge)
	}
	if len(u.cfg.Keys) > 0 {
		if err := h.Verify(u.cfg.Keys); err != nil {
			return err
		}
	}
	return nil
}

// writeError tells errors of the disk from those of the reader.
type writeError struct{ w io.Writer }

func (w writeError) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	return n, spaceError(err)
}

func spaceError(err error) error {
	if durable.LacksRoom(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, plain(err))
	}
	return plain(err)
}

// Delete forgets a file that no update under way needs.
func (u *Updates) Delete(hash updates.FileHash) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.files[hash]; !ok {
		return ErrUnknownFile
	}
	for _, r := range u.records {
		if e := r.Execution; e != nil && !e.State.Ended() && e.File.Hash == hash {
			return ErrInUse
		}
	}
	if err := os.Remove(u.path(hash)); err != nil {
		return plain(err)
	}
	delete(u.files, hash)
	return nil
}

func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s: %w", path.Op, path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return fmt.Errorf("%s: %w", link.Op, link.Err)
	}
	return err
}
