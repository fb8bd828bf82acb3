package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"telltale.dev/hal/durable"
)

const lockFile = "LOCK"

// ErrLocked is wrapped by errors of Open and Inspect when another process has the directory.
var ErrLocked = errors.New("directory is in use")

// lockDir takes the directory for this process, or shares it with other
// readers. The error wraps ErrLocked when another process has it.
func lockDir(dir string, shared bool) (*os.File, error) {
	flags, how := os.O_RDWR|os.O_CREATE, durable.Exclusive
	if shared {
		flags, how = os.O_RDONLY, durable.Shared
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), flags, 0o600)
	if err != nil {
		return nil, plain(err)
	}
	if err := durable.TryLock(f, how); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if errors.Is(err, durable.ErrLocked) {
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
