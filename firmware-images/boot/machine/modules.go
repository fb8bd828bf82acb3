//go:build linux

package machine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// moduleDir holds the kernel modules, and moduleOrder their names in the order of loading,
// one a line with its parameters. An empty line stands after those that the buses need.
const (
	moduleDir   = "/lib/modules"
	moduleOrder = moduleDir + "/order"
)

// LoadModules loads what the image brings. It calls buses once: as soon as the modules are loaded that
// those need, or at the end when the image does not say which. A module that fails is
// said and left out: what needs it says so again.
func LoadModules(say Say, buses func()) {
	order, err := os.ReadFile(moduleOrder)
	if err != nil {
		say("modules: %v", err)
	}
	first, rest := groups(string(order))
	for _, line := range first {
		load(say, line)
	}
	buses()
	for _, line := range rest {
		load(say, line)
	}
}

// groups splits the order at its empty line.
func groups(order string) (first, rest []string) {
	before, after, _ := strings.Cut(order, "\n\n")
	return lines(before), lines(after)
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// load loads one module with its parameters.
func load(say Say, line string) {
	name, params, _ := strings.Cut(line, " ")
	path := filepath.Join(moduleDir, name+".ko")
	f, err := os.Open(path)
	if err != nil {
		say("module %s: %v", name, err)
		return
	}
	err = unix.FinitModule(int(f.Fd()), params, 0)
	f.Close()
	if err != nil && !errors.Is(err, unix.EEXIST) {
		say("module %s: %v", name, err)
	}
	os.Remove(path) // its memory is the machine's
}
