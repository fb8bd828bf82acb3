package cloud

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"telltale.dev/hal/durable"
)

// Errors of the data directory.
var (
	// ErrLocked: another process works on the data directory.
	ErrLocked = errors.New("data directory is in use")
	// ErrNotWritable: the data directory cannot be made or written.
	ErrNotWritable = errors.New("data directory is not writable")
	// ErrForeign: the data directory holds only what is not the cloud's.
	ErrForeign = errors.New("data directory holds something else")
)

const lockName = "LOCK"

// checkForeign refuses a directory with files of somebody else and none of ours: a
// wrong folder given by mistake. Hidden files and a file system's own do not count.
func checkForeign(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return notWritable(name, err)
	}
	foreign := false
	for _, e := range entries {
		switch e.Name() {
		case lockName, "backbone", "lake", "ca", "updates":
			return nil
		case "lost+found":
		default:
			foreign = foreign || !strings.HasPrefix(e.Name(), ".")
		}
	}
	if foreign {
		return fmt.Errorf("%w: %s is not empty and has nothing of a cloud; choose an empty or new directory", ErrForeign, name)
	}
	return nil
}

// lock is held on the whole data directory. The backbone locks its own part of it
// too, but with an external NATS server it has none, and two processes would write
// the same lake.
type lock struct{ file *os.File }

// lockDirectory makes the directory when missing and locks it (flock). Errors name
// it by its last element, and say what to do.
func lockDirectory(dir string) (*lock, error) {
	name := filepath.Base(dir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, notWritable(name, err)
	}
	if err := checkForeign(dir, name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, notWritable(name, err)
	}
	err = durable.TryLock(file, durable.Exclusive)
	if errors.Is(err, durable.ErrLocked) {
		holder, _ := os.ReadFile(file.Name())
		err = fmt.Errorf("%w: %s is held by process %s; stop it first, or choose another directory",
			ErrLocked, name, strings.TrimSpace(string(holder)))
	} else if err == nil {
		if err = file.Truncate(0); err == nil {
			_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
		}
		if err != nil {
			err = notWritable(name, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &lock{file}, nil
}

// release gives the directory back. The file stays: removing it would let two processes hold two of that name.
func (l *lock) release() error { return l.file.Close() }

func notWritable(name string, err error) error {
	return fmt.Errorf("%w: %s, as user %d: %w; choose another directory, or change its owner", ErrNotWritable, name, os.Getuid(), durable.Bare(err))
}
