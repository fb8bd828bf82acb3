package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// parserTo makes the parser of all commands, which writes into out.
func parserTo(t *testing.T, out *bytes.Buffer) *kong.Kong {
	t.Helper()
	parser, err := kong.New(&Commands{}, kong.Name("telltale"), kong.Description("The Telltale simulator."), kong.Writers(out, out))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func TestComplete(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"telltale sta", "state"},
		{"bin/telltale veh", "vehicles"},
		{"telltale campaign ", "check list push rm show"},
		{"telltale campaign push --ap", "--api"},
		{"telltale completion ", "bash fish zsh"},
		{"telltale cert --role d", "device"},
		{"telltale cert --role=o", "operator"},
		{"telltale demo --faults p", "power"},
		{"telltale nonsense --x", ""},
		{"telltale dbc check ", ""}, // a file: the shell knows them
	} {
		t.Setenv("COMP_LINE", c.line)
		var out bytes.Buffer
		asked, err := Complete(parserTo(t, &out))
		got := strings.Fields(out.String())
		slices.Sort(got)
		if !asked || err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q: got %v, %v and %q, want %q", c.line, asked, err, got, c.want)
		}
	}
	t.Setenv("COMP_LINE", "")
	var out bytes.Buffer
	if asked, err := Complete(parserTo(t, &out)); asked || err != nil || out.Len() != 0 {
		t.Errorf("nobody asked: got %v, %v and %q", asked, err, out.String())
	}
}

// TestManual: every command and every flag is on the page, which is the same each time.
func TestManual(t *testing.T) {
	var out bytes.Buffer
	parser := parserTo(t, &out)
	parsed, err := parser.Parse([]string{"man"})
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Run(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.HasPrefix(text, `.TH "TELLTALE" "1" "" "telltale `) || strings.Contains(text, "\n\n") {
		t.Errorf("got a page that begins with %.80q, want the title, and no empty line in it", text)
	}
	if err := kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if want := heading(node); !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
		return next(nil)
	}); err != nil {
		t.Fatal(err)
	}
	if again := manual(parserTo(t, &out).Model, "1"); again != manual(parser.Model, "1") {
		t.Error("got two different pages of one version")
	}
}

// heading is how a command or flag has to stand on the page; "" for all else.
func heading(node kong.Visitable) string {
	switch node := node.(type) {
	case *kong.Node:
		return "\n.SS \"telltale " + strings.ReplaceAll(node.Path(), "-", `\-`)
	case *kong.Flag:
		return "\n.B \"" + strings.NewReplacer("-", `\-`, `"`, `\(dq`).Replace(node.String())
	}
	return ""
}

// TestManualText: what has a meaning in man(7) is shown as it was written.
func TestManualText(t *testing.T) {
	var p page
	p.line(`.5 of a file's \n is --this` + "\nand that")
	p.line(`'tis`)
	p.item(`--name="x y"`, "36 %")
	want := `\&.5 of a file's \en is \-\-this and that` + "\n" + `\&'tis` + "\n.TP\n" + `.B "\-\-name=\(dqx y\(dq"` + "\n36 %\n"
	if p.String() != want {
		t.Errorf("got %q, want %q", p.String(), want)
	}
}
