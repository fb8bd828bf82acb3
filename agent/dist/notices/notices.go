// Package notices gathers the licences of what a program is made of: those of Go and of every
// module that is linked into it. What is given to others brings the text along, as the licences ask for.
package notices

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Module is a module that is linked into a program.
type Module struct {
	Path, Version string
	dir           string
}

// Modules lists the modules, but our own, that are linked into the package built by the go command in
// root with the environment env and the build tags, sorted by path.
func Modules(root string, env []string, tags string, packages ...string) ([]Module, error) {
	args := append([]string{"list", "-deps", "-tags", tags, "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = root, env
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("notices: go list: %w", err)
	}
	var all []Module
	for line := range strings.Lines(string(out)) {
		path, rest, ok := strings.Cut(strings.TrimSpace(line), "\t")
		version, dir, _ := strings.Cut(rest, "\t")
		if ok && !slices.ContainsFunc(all, func(m Module) bool { return m.Path == path }) {
			all = append(all, Module{path, version, dir})
		}
	}
	slices.SortFunc(all, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// Text gives the licences of Go and of the modules. A module without a licence is an error: it may not be given to others.
func Text(modules []Module) ([]byte, error) {
	out := bytes.NewBufferString("What this program is made of, beside Telltale itself, and under which licences.\n")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("notices: go env: %w", err)
	}
	for _, m := range append([]Module{{"Go's standard library", "", strings.TrimSpace(string(root))}}, modules...) {
		files, err := licences(m.dir)
		if err == nil && len(files) == 0 {
			err = errors.New("expected a file LICENSE, LICENCE, COPYING or NOTICE")
		}
		if err != nil {
			return nil, fmt.Errorf("notices: %s: %w", m.Path, err)
		}
		fmt.Fprintf(out, "\n%s\n%s\n", strings.Repeat("=", 78), strings.TrimSpace(m.Path+" "+m.Version))
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(m.dir, file))
			if err != nil {
				return nil, fmt.Errorf("notices: %s: %s cannot be read", m.Path, file)
			}
			fmt.Fprintf(out, "\n--- %s\n\n%s\n", file, bytes.TrimSpace(text))
		}
	}
	return out.Bytes(), nil
}

// licences are the names of a folder's files that hold licences.
func licences(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.New("its folder cannot be read: expected the module cache to hold it")
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		for _, begin := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"} {
			if strings.HasPrefix(name, begin) && e.Type().IsRegular() && !strings.HasSuffix(name, ".GO") {
				names = append(names, e.Name())
				break
			}
		}
	}
	return names, nil
}
