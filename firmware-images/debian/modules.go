package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoModule is wrapped by Modules for a name that the kernel has neither as a module nor built in.
var ErrNoModule = errors.New("kernel has no such module")

// Module is a kernel module, ready for finit_module.
type Module struct {
	Name string // with underscores, as the kernel lists it
	Data []byte // the ELF file, not compressed
}

// Modules gives the named modules and all that they depend on, in the order in
// which they are to be loaded. What is built into the kernel is left out.
// Hyphens and underscores in names are the same.
func (k *Kernel) Modules(ctx context.Context, names ...string) ([]Module, error) {
	files, err := k.moduleFiles()
	if err != nil {
		return nil, err
	}
	builtin, err := k.builtin()
	if err != nil {
		return nil, err
	}
	l := &moduleList{files: files, builtin: builtin, seen: map[string]bool{}}
	for _, name := range names {
		if err := l.add(ctx, moduleName(name), nil); err != nil {
			return nil, fmt.Errorf("debian: kernel %s: %w", k.Release, err)
		}
	}
	return l.order, nil
}

// moduleList collects modules behind those they depend on.
type moduleList struct {
	files   map[string]string // name → path
	builtin map[string]bool
	seen    map[string]bool
	order   []Module
}

func (l *moduleList) add(ctx context.Context, name string, wantedBy []string) error {
	if l.seen[name] || l.builtin[name] {
		return nil
	}
	l.seen[name] = true
	path, ok := l.files[name]
	if !ok {
		return fmt.Errorf("module %s: %w", strings.Join(append(wantedBy, name), " → "), ErrNoModule)
	}
	data, err := readModule(ctx, path)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	depends, err := ModuleDepends(data)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, d := range depends {
		if err := l.add(ctx, d, append(slices.Clone(wantedBy), name)); err != nil {
			return err
		}
	}
	l.order = append(l.order, Module{Name: name, Data: data})
	return nil
}

// ModuleDepends reads which modules a module needs from its .modinfo section,
// a list of key=value strings that end in zero bytes.
func ModuleDepends(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("expected an ELF file: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("expected a section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("section .modinfo: %w", err)
	}
	var depends []string
	for entry := range strings.SplitSeq(string(info), "\x00") {
		list, ok := strings.CutPrefix(entry, "depends=")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(list, ",") {
			if name != "" {
				depends = append(depends, moduleName(name))
			}
		}
	}
	return depends, nil
}

// readModule reads a .ko or .ko.xz file.
func readModule(ctx context.Context, path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	out, err := run(ctx, filepath.Dir(path), "xz", "-dc", path)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("is compressed, and the program xz is missing (package xz-utils): %w", err)
	}
	return []byte(out), err
}

// moduleFiles finds all modules of the kernel.
func (k *Kernel) moduleFiles() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.moduleDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base, ok := strings.CutSuffix(strings.TrimSuffix(d.Name(), ".xz"), ".ko"); ok && !d.IsDir() {
			files[moduleName(base)] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("debian: kernel %s: %w", k.Release, err)
	}
	return files, nil
}

// builtin lists what would be a module if it were not in the kernel.
func (k *Kernel) builtin() (map[string]bool, error) {
	text, err := os.ReadFile(filepath.Join(k.moduleDir(), "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("debian: kernel %s: %w", k.Release, err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		names[moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
	}
	return names, nil
}

// moduleDir is lib/modules/<release>, below usr since Debian 13.
func (k *Kernel) moduleDir() string {
	dir := filepath.Join(k.Dir, "usr", "lib", "modules", k.Release)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	return filepath.Join(k.Dir, "lib", "modules", k.Release)
}

func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }
