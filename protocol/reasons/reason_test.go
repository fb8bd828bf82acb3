package reasons_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"
)

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
