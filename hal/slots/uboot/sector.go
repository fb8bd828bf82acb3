package uboot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
)

// lock opens the boot state and waits until no other process changes it.
// Closing the file unlocks it.
func (s *Slots) lock(mode int) (*os.File, error) {
	f, err := os.OpenFile(s.cfg.State, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("boot state: %w", plain(err))
	}
	how := durable.Exclusive
	if mode == os.O_RDONLY {
		how = durable.Shared
	}
	err = durable.Lock(f, how)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("boot state: lock: %w", err)
	}
	return f, nil
}

// alone makes sure that nobody else writes a slot's image until f is closed: the
// end of one install would make bootable what the other has half written.
func alone(f *os.File) error {
	err := durable.TryLock(f, durable.Exclusive)
	if errors.Is(err, durable.ErrLocked) {
		return slots.ErrBusy
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// read gives the state in force and, when that is the default, why.
func (s *Slots) read(f *os.File) (current *state, problem string, err error) {
	sector := make([]byte, SectorSize)
	n, err := f.ReadAt(sector, s.cfg.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", fmt.Errorf("boot state: %w", plain(err))
	}
	current, err = decode(sector[:n])
	if err != nil {
		return initial(), err.Error(), nil
	}
	return current, "", nil
}

// change reads, changes and writes the state, and nobody else does meanwhile.
func (s *Slots) change(how func(*state) error) error {
	f, err := s.lock(os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	current, problem, err := s.read(f)
	if err != nil {
		return err
	}
	before, err := current.encode()
	if err != nil {
		return err
	}
	if err := how(current); err != nil {
		return err
	}
	sector, err := current.encode()
	if err != nil {
		return err
	}
	if problem == "" && bytes.Equal(sector, before) { // each write is a moment in which the power must not go
		return nil
	}
	if _, err := f.WriteAt(sector, s.cfg.Offset); err != nil {
		return fmt.Errorf("boot state: %w", plain(err))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("boot state: %w", plain(err))
	}
	return nil
}

// plain leaves the path out of an error.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
