package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Conditions of ReadRegular that callers may branch on.
var (
	// ErrNotRegular: the name is that of a folder, a pipe or a device.
	ErrNotRegular = errors.New("expected a regular file")
	// ErrTooLarge is wrapped when the file has more bytes than allowed.
	ErrTooLarge = errors.New("file is too large")
)

// ReadRegular reads a regular file of at most most bytes, and tells mode and time of what was
// read. It never waits: a pipe without a writer is ErrNotRegular. Errors of the
// file system name the path as given; Plain and Bare shorten them.
func ReadRegular(path string, most int64) ([]byte, fs.FileInfo, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // a device may do something when it is opened
		return nil, nil, ErrNotRegular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe meanwhile
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, ErrNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = tooLarge(most)
	}
	if err != nil {
		return nil, nil, err
	}
	return data, info, nil
}

// tooLarge says what was expected.
func tooLarge(most int64) error { return &sizeError{most} }

type sizeError struct{ most int64 }

func (e *sizeError) Error() string { return fmt.Sprintf("expected at most %d bytes", e.most) }
func (e *sizeError) Unwrap() error { return ErrTooLarge }
