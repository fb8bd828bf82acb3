package durable

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// ErrLocked says that somebody else has the lock.
var ErrLocked = errors.New("locked by another process")

// Mode is how a file is locked.
type Mode int

// A shared lock admits other shared ones, an exclusive lock none. The zero Mode is invalid.
const (
	Shared    = Mode(syscall.LOCK_SH)
	Exclusive = Mode(syscall.LOCK_EX)
)

// Lock waits until the file is locked (flock). Closing the file unlocks it, as does the end of
// the process. The lock is advisory: only those who ask for it notice.
func Lock(f *os.File, mode Mode) error { return flock(f, int(mode)) }

// TryLock is Lock without waiting longer than a moment. The error is ErrLocked when somebody else has the lock.
//
// The moment is for a lock that has just been given back by a process with children: a child shares its parent's
// locks from its fork until it begins its own program.
func TryLock(f *os.File, mode Mode) error {
	for end := time.Now().Add(lockMoment); ; time.Sleep(lockMoment / 20) {
		if err := flock(f, int(mode)|syscall.LOCK_NB); !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return err
		}
	}
}

// lockMoment is far longer than a fork takes, and short for a person who started a program twice.
const lockMoment = 200 * time.Millisecond

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}
