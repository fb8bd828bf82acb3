package backbone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"telltale.dev/hal/durable"
)

// layoutVersion is the number in VERSION. History:
//
//	1  the first
//	2  Up and Low have records of groups of messages; those of before stand alone and are read. A program of version 1 would
//	   take each record for one message.
const (
	layoutVersion = 2
	firstVersion  = 1
)

// Names in the data directory; see the package comment.
const (
	versionName = "VERSION"
	lockName    = "LOCK"
	storeName   = "jetstream"
)

// directory is a data directory that this process holds locked.
type directory struct {
	path string
	lock *os.File
}

// openDirectory makes the directory when missing, locks it and checks that its
// layout is ours. Errors name the directory by its last element.
func openDirectory(path string) (*directory, error) {
	name := filepath.Base(path)
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, notWritable(name, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, notWritable(name, err)
	}
	d := &directory{path: path, lock: lock}
	if err := d.take(name); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := d.checkVersion(name); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

// take takes the lock and writes the process id into it, for the error of the next one who tries.
func (d *directory) take(name string) error {
	err := durable.TryLock(d.lock, durable.Exclusive)
	if errors.Is(err, durable.ErrLocked) {
		text, _ := os.ReadFile(d.lock.Name())
		return fmt.Errorf("%w: %s is held by process %s; stop it first, or choose another directory",
			ErrLocked, name, strings.TrimSpace(string(text)))
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	if err := d.lock.Truncate(0); err != nil {
		return notWritable(name, err)
	}
	if _, err := d.lock.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0); err != nil {
		return notWritable(name, err)
	}
	return nil
}

// checkVersion reads VERSION, or writes it into an empty directory.
func (d *directory) checkVersion(name string) error {
	text, err := os.ReadFile(filepath.Join(d.path, versionName))
	if errors.Is(err, fs.ErrNotExist) {
		return d.writeVersion(name)
	}
	if err != nil {
		return fmt.Errorf("read %s of %s: %w", versionName, name, durable.Bare(err))
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%w: %s in %s is no number; restore it (this program writes %d), or choose another directory",
			ErrVersion, versionName, name, layoutVersion)
	}
	if version == firstVersion {
		return d.putVersion(name) // before anything is written that version 1 does not read
	}
	if version != layoutVersion {
		return fmt.Errorf("%w: %s has version %d, this program reads version %d; use the program that wrote it, or another directory",
			ErrVersion, name, version, layoutVersion)
	}
	return nil
}

// writeVersion refuses a directory that holds anything else than what an
// interrupted first start leaves, and writes VERSION durably.
func (d *directory) writeVersion(name string) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("list %s: %w", name, durable.Bare(err))
	}
	for _, e := range entries {
		if !slices.Contains([]string{lockName, versionName + ".tmp", versionName + ".new"}, e.Name()) {
			return fmt.Errorf("%w: %s is not empty and has no %s file; choose an empty directory", ErrVersion, name, versionName)
		}
	}
	return d.putVersion(name)
}

// putVersion writes VERSION durably.
func (d *directory) putVersion(name string) error {
	if err := durable.ReplaceMode(filepath.Join(d.path, versionName), fmt.Appendln(nil, layoutVersion), 0o640); err != nil {
		return notWritable(name, err)
	}
	return nil
}

func (d *directory) close() error { return d.lock.Close() }

func notWritable(name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: the disk of %s has no space left; make space, or choose another directory", ErrFull, name)
	}
	return fmt.Errorf("%w: %s, as user %d: %w", ErrNotWritable, name, os.Getuid(), durable.Bare(err))
}
