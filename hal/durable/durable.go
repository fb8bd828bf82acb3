// Package durable is what the whole project does alike with files: it replaces
// small ones so that a power cut leaves either the old or the new content, puts
// names on disk, finds and locks files, and reads files of bounded size.
//
// It is no port to the vehicle and knows nothing of what the files hold, so that
// agent and cloud may use it, too. Databases and files that are streamed have ways of
// their own, and take from here what they share.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Replace gives a file new content and the mode 0600, on disk when it returns. A file of
// the same name with .tmp behind it is in the way of nobody else. Errors do not name the folder.
func Replace(path string, data []byte) error { return ReplaceMode(path, data, 0o600) }

// ReplaceMode is Replace for a file of another mode.
func ReplaceMode(path string, data []byte, mode fs.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return Plain(err)
	}
	if err = f.Chmod(mode); err == nil { // of a file that a crash has left, or with another umask
		_, err = f.Write(data)
	}
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

// SyncFolder puts the names of a folder's files on disk: what was made, renamed and removed there.
func SyncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Match gives the paths below folder that match the pattern, whose elements are those of
// filepath.Match. The name of the folder itself is never read as a pattern. A file system
// that does not answer is left out; the error is about the pattern.
func Match(folder string, pattern ...string) ([]string, error) {
	quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(folder)
	return filepath.Glob(filepath.Join(append([]string{quoted}, pattern...)...))
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

// Bare leaves all but the reason out of an error about a file, for callers that name the file themselves. nil stays nil.
func Bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
