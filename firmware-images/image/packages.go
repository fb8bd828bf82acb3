package image

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/firmware-images/initramfs"
)

// toolPackages hold mke2fs and e2fsck with their libraries. They are Debian's
// binaries, dynamically linked: what they need is looked up in their ELF headers.
var toolPackages = []string{"e2fsprogs", "libext2fs2", "libcom-err2", "libblkid1", "libuuid1", "libc6"}

// fileSystemTools adds what checks the data partition and makes it anew.
func (b *build) fileSystemTools(ctx context.Context, a *initramfs.Archive) error {
	l := &linker{archive: a, added: map[string]bool{}}
	for _, name := range toolPackages {
		p, err := b.cache.Fetch(ctx, arch, name)
		if err != nil {
			return err
		}
		tree, err := b.cache.Extract(ctx, p)
		if err != nil {
			return err
		}
		b.used = append(b.used, p)
		l.trees = append(l.trees, tree)
	}
	for _, program := range []string{"sbin/e2fsck", "sbin/mke2fs"} {
		if err := l.add(program); err != nil {
			return err
		}
	}
	config, err := os.ReadFile(filepath.Join(l.trees[0], "etc", "mke2fs.conf"))
	if err != nil {
		return err
	}
	a.File("etc/mke2fs.conf", 0o644, config)
	return nil
}

// linker collects programs with the libraries they need.
type linker struct {
	archive *initramfs.Archive
	trees   []string // extracted packages
	added   map[string]bool
}

// libraryDirs are where Debian's arm64 libraries are.
var libraryDirs = []string{"lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"}

// add puts the file at path in a package into the archive, and all that it needs.
func (l *linker) add(path string) error {
	if l.added[path] {
		return nil
	}
	l.added[path] = true
	data, err := l.read(path)
	if err != nil {
		return err
	}
	l.archive.File(path, 0o755, data)
	file, err := elf.NewFile(strings.NewReader(string(data)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			interpreter := make([]byte, segment.Filesz)
			if _, err := segment.ReadAt(interpreter, 0); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := l.add(strings.Trim(string(interpreter), "/\x00")); err != nil {
				return err
			}
		}
	}
	needed, err := file.DynString(elf.DT_NEEDED)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, library := range needed {
		if err := l.library(library); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// library finds a library by its name.
func (l *linker) library(name string) error {
	for _, dir := range libraryDirs {
		if _, err := l.read(filepath.Join(dir, name)); err == nil {
			return l.add(filepath.Join(dir, name))
		}
	}
	if l.added["lib/"+name] { // the interpreter, which is a library, too
		return nil
	}
	return fmt.Errorf("needs %s: expected it in one of %s", name, strings.Join(toolPackages, ", "))
}

// read reads a file of one of the packages; links lead within its own package.
func (l *linker) read(path string) ([]byte, error) {
	for _, tree := range l.trees {
		if data, err := os.ReadFile(filepath.Join(tree, path)); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%s: expected it in one of %s", path, strings.Join(toolPackages, ", "))
}

// bootPackage fetches and extracts a package of the boot loader.
func (b *build) bootPackage(ctx context.Context, name string) (tree string, err error) {
	p, err := b.cache.Fetch(ctx, debian.Arch(arch), name)
	if err != nil {
		return "", err
	}
	b.boot = append(b.boot, p)
	return b.cache.Extract(ctx, p)
}
