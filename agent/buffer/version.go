package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telltale.dev/hal/durable"
)

// The version file names the layout of the directory.
const (
	versionFile = "VERSION"
	versionName = "telltale-buffer "
	versionText = versionName + "2"
	// versionFormer is the layout before. Records of its form are read to the end; those that are written have the form of versionText.
	versionFormer = versionName + "1"
)

// ErrVersion is wrapped by errors of Open and Inspect for a directory of another layout.
var ErrVersion = errors.New("directory is of another version")

// versionState is what the version file says.
type versionState int

const (
	versionOurs    versionState = iota
	versionPast                 // the former one, whose records are read, too
	versionNone                 // no version and no segments: the directory is new
	versionDamaged              // empty, garbled or gone, as after a power cut, beside segments
)

// checkVersion reads the version file. A text of the right form with another
// number, and a foreign file where there are no segments, are ErrVersion.
func checkVersion(dir string) (versionState, error) {
	text, err := os.ReadFile(filepath.Join(dir, versionFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, plain(err)
	}
	got := strings.Trim(string(text), "\x00 \r\n")
	switch got {
	case versionText:
		return versionOurs, nil
	case versionFormer:
		return versionPast, nil
	}
	entries, dirErr := os.ReadDir(dir)
	if dirErr != nil {
		return 0, plain(dirErr)
	}
	segments := slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		_, ok := parseFile(e.Name())
		return ok
	})
	number, named := strings.CutPrefix(got, versionName)
	switch {
	case named && number != "" && strings.Trim(number, "0123456789") == "":
	case segments:
		return versionDamaged, nil
	case got == "": // none, or cut at its first writing
		return versionNone, nil
	}
	return 0, fmt.Errorf("buffer: %s: %w: %s says %.40q, expected %q: use the agent that wrote it, or another data directory",
		filepath.Base(dir), ErrVersion, versionFile, got, versionText)
}

// takeVersion checks the version of a directory that is locked, and marks a new
// one. A damaged version file is set aside and replaced: the segments have checksums of their own.
func (b *Buffer) takeVersion() error {
	state, err := checkVersion(b.dir)
	switch {
	case err != nil || state == versionOurs:
		return err
	case state == versionPast && b.onTrial:
		b.form = formerForm
		return nil
	case state == versionPast:
		return plain(raiseVersion(b.dir))
	case state == versionNone:
		if b.onTrial {
			b.form = formerForm
		}
		if err = b.writeVersion(); lacksRoom(err) { // written with the first commit
			b.unversioned, err = true, nil
			b.log.Warn("the disk has no room for a buffer yet")
		}
		return plain(err)
	}
	b.log.Warn("buffer's version file was damaged, it is set aside and written anew", "file", versionFile+suffixCorrupt)
	path := filepath.Join(b.dir, versionFile)
	if err = b.ops.rename(path, path+suffixCorrupt); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, b.writeVersion()); err != nil { // tried again at the next start
		b.log.Warn("write buffer's version file", "error", plain(err))
	}
	return nil
}

// raiseVersion makes the directory one of this version before anything is written in it. It changes one
// byte in place, which needs no room and is done or not.
func raiseVersion(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, versionFile), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(versionText), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// completeVersion marks the directory before its first segment, if there was no room when it was made.
func (b *Buffer) completeVersion() error {
	if !b.unversioned {
		return nil
	}
	err := b.writeVersion()
	b.unversioned = err != nil
	return err
}

// writeVersion marks a directory.
func (b *Buffer) writeVersion() error {
	text := versionText
	if b.form == formerForm {
		text = versionFormer
	}
	return durable.Replace(filepath.Join(b.dir, versionFile), []byte(text+"\n"))
}
