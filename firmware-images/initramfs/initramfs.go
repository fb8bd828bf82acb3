// Package initramfs writes the file system that a Linux kernel starts with: a
// cpio archive in the format "newc" (Documentation/driver-api/early-userspace
// of the kernel's source).
//
// The same entries give the same bytes, whatever the order in which they were
// added: sorted by name, owned by root, dated 1970. It compresses nothing and
// reads no archives.
package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
)

// File type bits of a mode, as in stat(2).
const (
	typeDir     = 0o040000
	typeFile    = 0o100000
	typeSymlink = 0o120000
	typeChar    = 0o020000
	typeBlock   = 0o060000
	typeMask    = 0o170000
)

// entry is one file of the archive.
type entry struct {
	mode         uint32 // type and permission bits
	data         []byte // content, or target of a symbolic link
	major, minor uint32 // of a device
}

// Archive collects files. The zero Archive is empty and ready. Names are
// relative, separated by slashes; folders above a name are made as needed. A
// name added again replaces what was there. Not for several goroutines.
type Archive struct {
	entries map[string]entry
	err     error // the first bad name, told by WriteTo
}

// File adds a regular file. The caller leaves data alone until the archive is written.
func (a *Archive) File(name string, perm fs.FileMode, data []byte) {
	a.add(name, entry{mode: typeFile | uint32(perm.Perm()), data: data})
}

// Dir adds a folder.
func (a *Archive) Dir(name string, perm fs.FileMode) {
	a.add(name, entry{mode: typeDir | uint32(perm.Perm())})
}

// Symlink adds a symbolic link.
func (a *Archive) Symlink(name, target string) {
	a.add(name, entry{mode: typeSymlink | 0o777, data: []byte(target)})
}

// CharDevice adds a character device.
func (a *Archive) CharDevice(name string, perm fs.FileMode, major, minor uint32) {
	a.add(name, entry{mode: typeChar | uint32(perm.Perm()), major: major, minor: minor})
}

// BlockDevice adds a block device.
func (a *Archive) BlockDevice(name string, perm fs.FileMode, major, minor uint32) {
	a.add(name, entry{mode: typeBlock | uint32(perm.Perm()), major: major, minor: minor})
}

func (a *Archive) add(name string, e entry) {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		a.err = errors.Join(a.err, fmt.Errorf("initramfs: name %q: expected a relative path without dots", name))
		return
	}
	if a.entries == nil {
		a.entries = map[string]entry{}
	}
	a.entries[name] = e
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := a.entries[dir]; !ok {
			a.entries[dir] = entry{mode: typeDir | 0o755}
		}
	}
}

// WriteTo writes the archive. Its error also names what could not be added.
func (a *Archive) WriteTo(w io.Writer) (int64, error) {
	if a.err != nil {
		return 0, a.err
	}
	out := &counter{w: w}
	for i, name := range slices.Sorted(maps.Keys(a.entries)) {
		e := a.entries[name]
		if err := a.check(name, e); err != nil {
			return out.n, err
		}
		if err := writeEntry(out, i+1, name, e); err != nil {
			return out.n, fmt.Errorf("initramfs: %w", err)
		}
	}
	if err := writeEntry(out, 0, "TRAILER!!!", entry{}); err != nil {
		return out.n, fmt.Errorf("initramfs: %w", err)
	}
	return out.n, nil
}

// check finds what the format cannot hold.
func (a *Archive) check(name string, e entry) error {
	if uint64(len(e.data)) > math.MaxUint32 {
		return fmt.Errorf("initramfs: %s has %d bytes: expected less than 4 GiB", name, len(e.data))
	}
	if dir := path.Dir(name); dir != "." && a.entries[dir].mode&typeMask != typeDir {
		return fmt.Errorf("initramfs: %s: expected %s to be a folder", name, dir)
	}
	return nil
}

// writeEntry writes a header of 13 numbers in 8 hexadecimal digits, the name
// and the content, each filled up to a multiple of 4 bytes.
func writeEntry(out *counter, inode int, name string, e entry) error {
	links := 1
	if e.mode&typeMask == typeDir {
		links = 2
	}
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, e.mode, 0, 0, links, 0, len(e.data), 0, 0, e.major, e.minor, len(name)+1, 0)
	for _, part := range [][]byte{[]byte(header + name + "\x00"), e.data} {
		if _, err := out.Write(part); err != nil {
			return err
		}
		if _, err := out.Write(bytes.Repeat([]byte{0}, int(-out.n&3))); err != nil {
			return err
		}
	}
	return nil
}

// counter counts what was written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
