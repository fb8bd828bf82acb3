// Package e2e tests the whole system: real processes, real TLS, real files.
// This file tests the shape of the house itself.
package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "telltale.dev/"

// goPackage is what the rules look at: a folder's imports and whether a package comment is there.
type goPackage struct {
	imports   map[string]string // path → a file that has it
	commented bool
	calls     []string // "time.Now" and go statements, with their file
}

// TestLayers enforces who may import whom. It parses the files itself, since
// a test that runs the go command is served stale from the test cache.
func TestLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	for dir, p := range parse(t, root, false) {
		if !p.commented {
			t.Errorf("%s: expected a package comment", dir)
		}
		for path, file := range p.imports {
			if why := forbidden(dir, path); why != "" {
				t.Errorf("%s imports %s: %s", file, path, why)
			}
		}
		for _, call := range p.calls {
			if dir == "protocol" || strings.HasPrefix(dir, "protocol/") {
				t.Errorf("%s: protocol starts no goroutine and never asks the time", call)
			}
		}
	}
	for dir, p := range parse(t, root, true) {
		for path, file := range p.imports {
			if strings.HasPrefix(dir, "protocol") && inside(path, "agent", "cloud", "simulator") {
				t.Errorf("%s imports %s: tests of protocol stay in protocol and hal", file, path)
			}
		}
	}
}

// TestTopLevel keeps the top of the repository to these folders and files.
func TestTopLevel(t *testing.T) {
	allowed := []string{"agent", "cloud", "hal", "protocol", "simulator", "firmware-images",
		"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "bin"}
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("top level has %s: expected only %v", e.Name(), allowed)
		}
	}
}

// upstream lists the neighbours whose types a stage of the agent's pipeline may import.
var upstream = map[string][]string{
	"agent/signals": {"agent/frames"},
	"agent/collect": {"agent/campaign", "agent/signals"},
	"agent/batch":   {"agent/collect", "agent/buffer"},
	// The link's rooms below it: one connection, what goes up, what comes down.
	"agent/link":        {"agent/link/session", "agent/link/uplink", "agent/link/downlink"},
	"agent/link/uplink": {"agent/link/session", "agent/buffer"},
	"agent/outbox":      {"agent/buffer"},
	"agent/settings":    {"agent/network", "agent/buffer"}, // words and bounds of what can be set
}

// common is what every room may use, the cloud's too: how files get onto a disk, by the standard library alone.
const common = "hal/durable"

// cloudWide are packages of the cloud that each of its rooms may import: who may do what, and the
// ground floor, which has streams, buckets, and what a room takes part in.
var cloudWide = []string{"cloud/access", "cloud/backbone"}

// drivers may be named only where programs are put together.
var drivers = []string{"hal/canbus/virtual", "hal/canbus/replay", "hal/canbus/socketcan", "hal/keystore/file", "hal/keystore/tpm", "hal/slots/uboot",
	"hal/power/file", "hal/power/gpio", "hal/power/sysfs", "hal/network/file", "hal/network/routes"}

// forbidden says why the package in dir may not import path, or "".
func forbidden(dir, path string) string {
	ours := strings.HasPrefix(path, module)
	target := strings.TrimPrefix(path, module)
	top, _, nested := strings.Cut(dir, "/")
	command := strings.Contains(dir, "/cmd/")
	switch {
	case top == "protocol" && !ours && banned(path):
		return "protocol does no input, output or logging"
	case !ours:
		return ""
	case top == "protocol" && !inside(target, "protocol"):
		return "protocol imports only itself"
	case dir == common:
		return "the common ground stands on the standard library alone"
	case top == "hal" && !inside(target, "protocol", "hal"):
		return "hal knows protocol only"
	case slices.Contains(drivers, target) && !command && !inside(dir, target, "simulator", "firmware-images"):
		return "drivers are named only in cmd, in the simulator and in the firmware images"
	case top == "agent" && inside(target, "cloud", "simulator"), top == "cloud" && inside(target, "agent", "simulator", "hal") && target != common:
		return "agent and cloud meet in protocol"
	case top == "simulator" && inside(target, "agent", "cloud") && dir != "simulator/e2e":
		return "the simulator runs agent and cloud as programs"
	case (top == "agent" || top == "cloud") && nested && !command && inside(target, top) &&
		!inside(target, dir) && !slices.Contains(upstream[dir], target) && (top != "cloud" || !slices.Contains(cloudWide, target)):
		return "a room knows no other room"
	}
	return ""
}

func banned(path string) bool {
	return path == "net" || strings.HasPrefix(path, "net/") || path == "os" || strings.HasPrefix(path, "os/") ||
		path == "syscall" || path == "log" || strings.HasPrefix(path, "log/")
}

// inside says whether path is one of the folders or below one.
func inside(path string, folders ...string) bool {
	path = strings.TrimPrefix(path, module)
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

// parse reads all packages below root, either their test files or the others.
func parse(t *testing.T, root string, tests bool) map[string]*goPackage {
	t.Helper()
	packages := map[string]*goPackage{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2)) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") != tests {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		if packages[dir] == nil {
			packages[dir] = &goPackage{imports: map[string]string{}}
		}
		packages[dir].add(filepath.ToSlash(rel), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func (p *goPackage) add(name string, file *ast.File) {
	p.commented = p.commented || file.Doc != nil
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			p.imports[path] = name
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			p.calls = append(p.calls, name+": go statement")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && (n.Sel.Name == "Now" || n.Sel.Name == "Since") {
				p.calls = append(p.calls, name+": time."+n.Sel.Name)
			}
		}
		return true
	})
}
