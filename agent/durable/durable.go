// Package durable replaces small files so that a power cut leaves either the
// old or the new content. It is for the rooms of the agent that keep a document
// or two; the buffer has ways of its own.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Replace gives a file new content, on disk when it returns. A file of the same
// name with .tmp behind it is in the way of nobody else. Errors do not name the folder.
func Replace(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return Plain(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return Plain(err)
	}
	return Plain(SyncFolder(filepath.Dir(path)))
}

// SyncFolder puts the names of a folder's files on disk.
func SyncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// LacksRoom tells errors that go away when something on the disk is deleted.
func LacksRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Plain leaves the folder out of an error about a file. nil stays nil.
func Plain(err error) error {
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
