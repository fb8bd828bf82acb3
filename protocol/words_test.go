package protocol_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"

	"telltale.dev/protocol"
)

func TestPriorities(t *testing.T) {
	for p := protocol.CS0; p <= protocol.CS6; p++ {
		back, err := protocol.ParsePriority(p.String())
		if err != nil || back != p {
			t.Errorf("%s: got %v, %v, want it back", p, back, err)
		}
		if p.Hot() != (p >= protocol.CS3) || p.Urgent() != (p >= protocol.CS4) {
			t.Errorf("%s: got hot %v, urgent %v", p, p.Hot(), p.Urgent())
		}
	}
	if protocol.Priorities != 7 || protocol.CS0 != 1 || protocol.CS6.String() != "CS6" {
		t.Error("the numbers of the classes have changed: buffers on disk hold them")
	}
	for _, bad := range []string{"", "CS", "CS7", "cs1", "CS10", "AF1", "CS1 "} {
		if p, err := protocol.ParsePriority(bad); err == nil || p != protocol.PriorityUnset {
			t.Errorf("%q: got %v, want an error", bad, p)
		}
	}
	for _, p := range []protocol.Priority{protocol.PriorityUnset, 8, 255} {
		if p.String() != "" {
			t.Errorf("priority %d: got %q, want nothing", p, p)
		}
	}
	for p := protocol.PriorityUnset; p <= protocol.CS6; p++ {
		text, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back := protocol.Priority(99)
		if err := back.UnmarshalText(text); err != nil || back != p {
			t.Errorf("%q: got %v, %v, want %d", text, back, err, p)
		}
	}
}

// constants gives the values of all string constants of a type in a file of this package.
func constants(t *testing.T, file, typ string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typ && len(spec.Values) == 1 {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[spec.Names[0].Name] = text
		}
		return true
	})
	return found
}

// TestReasons: each is one word of a machine's, and no two are the same.
func TestReasons(t *testing.T) {
	word, seen := regexp.MustCompile(`^[A-Z][A-Z_]{2,40}$`), map[string]string{}
	reasons := constants(t, "reason.go", "Reason")
	if len(reasons) < 12 {
		t.Errorf("got %d reasons, want all of them", len(reasons))
	}
	for name, text := range reasons {
		if !word.MatchString(text) {
			t.Errorf("%s: got %q, want capitals and _", name, text)
		}
		if other, ok := seen[text]; ok {
			t.Errorf("%s and %s are both %s", name, other, text)
		}
		seen[text] = name
	}
}
