package e2e_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Ceilings of the code that is not test code. They may be lowered, never raised.
const (
	maxFileLines     = 500
	maxFunctionLines = 60
	maxCyclomatic    = 15
	// maxEdges is how many other rooms a package imports on average. Package main,
	// imports of protocol and its folders, and of cloud/backbone, the ground floor of
	// the cloud, and of hal/durable, that of everybody, do not count.
	maxEdges = 1.14
	// maxMainLines is how many lines all packages main have together.
	maxMainLines = 1979
)

// exceptions are the places above a ceiling, with the figure that each may have.
// Most are one flat switch or one list of conditions, which a reader takes in at once.
var exceptions = map[string]int{
	"agent/batch/commit.go: Sealer.commit, cyclomatic complexity":          18,
	"agent/check/bus.go: Bus.judge, cyclomatic complexity":                 21,
	"agent/dist/deb/deb.go: Package.check, cyclomatic complexity":          16,
	"agent/link/session/codes.go: CodeText, cyclomatic complexity":         25,
	"agent/update/boot.go: Updater.trial, cyclomatic complexity":           17,
	"cloud/backbone/message.go: checkHeader, cyclomatic complexity":        17,
	"cloud/ingest/headers.go: propertyHeader, cyclomatic complexity":       16,
	"firmware-images/qemu/arguments.go: check, cyclomatic complexity":      16,
	"firmware-images/runner/prepare.go: prepare, cyclomatic complexity":    19,
	"firmware-images/runner/prepare.go: prepare, lines":                    61,
	"simulator/inspect/inspect.go: inspectDocument, cyclomatic complexity": 19,
	"protocol/updates/update.go: Feedback.Validate, cyclomatic complexity": 16,
}

// TestCeilings keeps files, functions and the house from growing past what a reader takes in.
func TestCeilings(t *testing.T) {
	above, mains := map[string]bool{}, 0
	over := func(what string, got, most int) {
		above[what] = got > most
		if got > max(most, exceptions[what]) {
			t.Errorf("%s: got %d, want at most %d", what, got, max(most, exceptions[what]))
		}
	}
	for path, file := range sources(t) {
		lines := file.fset.Position(file.ast.FileEnd).Line
		over(path, lines, maxFileLines)
		if file.ast.Name.Name == "main" {
			mains += lines
		}
		for _, decl := range file.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			name := path + ": " + functionName(f)
			over(name+", lines", file.fset.Position(f.End()).Line-file.fset.Position(f.Pos()).Line+1, maxFunctionLines)
			over(name+", cyclomatic complexity", cyclomatic(f.Body), maxCyclomatic)
		}
	}
	if mains > maxMainLines {
		t.Errorf("packages main have %d lines together, want at most %d: code belongs into rooms with tests", mains, maxMainLines)
	}
	for what := range exceptions {
		if !above[what] {
			t.Errorf("exceptions: %s is not above its ceiling, want it no longer listed", what)
		}
	}
}

// TestEdges keeps the rooms apart.
func TestEdges(t *testing.T) {
	edges, rooms := 0, 0
	packages := parse(t, root, false)
	mains := map[string]bool{}
	for path, file := range sources(t) {
		mains[filepath.ToSlash(filepath.Dir(path))] = file.ast.Name.Name == "main"
	}
	for dir, p := range packages {
		if mains[dir] {
			continue
		}
		rooms++
		for path := range p.imports {
			if strings.HasPrefix(path, module) && !inside(path, "protocol", "cloud/backbone", common) {
				edges++
			}
		}
	}
	if got := float64(edges) / float64(rooms); got > maxEdges {
		t.Errorf("got %.3f edges a package (%d in %d), want at most %.2f", got, edges, rooms, maxEdges)
	}
}

// source is a parsed file.
type source struct {
	fset *token.FileSet
	ast  *ast.File
}

// sources parses all files that are not tests, by their path from the repository's root.
func sources(t *testing.T) map[string]source {
	t.Helper()
	files := map[string]source{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2)) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		files[filepath.ToSlash(rel)] = source{fset, parsed}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("got no file")
	}
	return files
}

// functionName is Name or Type.Name.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	kind := f.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	if generic, ok := kind.(*ast.IndexExpr); ok {
		kind = generic.X
	}
	return fmt.Sprint(kind) + "." + f.Name.Name
}

// cyclomatic counts the ways through a function: one, and one more at each branch and
// each && or ||.
func cyclomatic(body *ast.BlockStmt) int {
	n := 1
	ast.Inspect(body, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}
