package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"telltale.dev/agent/durable"
)

// Names of the two files beside the segments.
const (
	lockFile    = "LOCK"
	versionFile = "VERSION"
	versionText = "telltale-buffer 1"
)

// Errors of Open and Inspect.
var (
	ErrLocked  = errors.New("directory is in use")
	ErrVersion = errors.New("directory is of another version")
)

// lockDir takes the directory for this process, or shares it with other
// readers. The error wraps ErrLocked when another process has it.
func lockDir(dir string, shared bool) (*os.File, error) {
	flags, how := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if shared {
		flags, how = os.O_RDONLY, syscall.LOCK_SH
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), flags, 0o600)
	if err != nil {
		return nil, plain(err)
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("buffer: %s: %w by process %s: stop it, or choose another data directory",
				filepath.Base(dir), ErrLocked, bytes.TrimSpace(owner))
		}
		return nil, fmt.Errorf("buffer: lock: %w", err)
	}
	if !shared {
		// Who holds the lock is a help for people only, so a write that goes wrong does not matter.
		_ = f.Truncate(0)
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// checkVersion reads the version file. Without one, and without segments,
// the directory is new and missing is true.
func checkVersion(dir string) (missing bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return false, plain(err)
		}
		for _, e := range entries {
			if _, ok := parseFile(e.Name()); ok {
				return false, fmt.Errorf("buffer: %s: %w: segments without a %s file, expected %q",
					filepath.Base(dir), ErrVersion, versionFile, versionText)
			}
		}
		return true, nil
	}
	if err != nil {
		return false, plain(err)
	}
	if got := strings.TrimSpace(string(text)); got != versionText {
		return false, fmt.Errorf("buffer: %s: %w: %s says %.40q, expected %q: use the agent that wrote it, or another data directory",
			filepath.Base(dir), ErrVersion, versionFile, got, versionText)
	}
	return false, nil
}

// writeVersion marks a new directory.
func writeVersion(dir string) error {
	tmp := filepath.Join(dir, versionFile+suffixNew)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return plain(err)
	}
	_, err = f.WriteString(versionText + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return plain(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, versionFile)); err != nil {
		return plain(err)
	}
	return plain(durable.SyncFolder(dir))
}
