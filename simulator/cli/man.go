package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"telltale.dev/protocol"
)

type Man struct{}

// Run prints the manual page, made of what the commands say of themselves. It has no date: the same version gives the same bytes.
func (Man) Run(app *kong.Kong) error {
	_, err := io.WriteString(app.Stdout, manual(app.Model, protocol.BuildVersion()))
	return err
}

// manual writes the page in the language of man(7).
func manual(app *kong.Application, version string) string {
	var p page
	p.macro("TH", strings.ToUpper(app.Name), "1", "", app.Name+" "+version, "Telltale")
	p.macro("SH", "NAME")
	p.line(app.Name + " - " + strings.TrimSuffix(app.Help, "."))
	p.macro("SH", "SYNOPSIS")
	p.line(app.Name + app.Summary())
	p.macro("SH", "OPTIONS OF ALL COMMANDS")
	p.flags(app.Node)
	p.macro("SH", "COMMANDS")
	p.commands(app.Name, app.Node)
	return p.String()
}

// page is a manual page in the making.
type page struct{ strings.Builder }

// macro writes a request with its arguments.
func (p *page) macro(name string, args ...string) {
	p.WriteString("." + name)
	for _, arg := range args {
		fmt.Fprintf(p, ` "%s"`, strings.ReplaceAll(escape(arg), `"`, `\(dq`))
	}
	p.WriteByte('\n')
}

// line writes a line of text; what begins with a dot or an apostrophe is not taken for a macro.
func (p *page) line(text string) {
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		p.WriteString(`\&`)
	}
	p.WriteString(escape(text) + "\n")
}

// escape lets a backslash be one, and a hyphen one that can be copied from the page.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
}

// item writes a name in bold and what it means.
func (p *page) item(name, means string) {
	p.macro("TP")
	p.macro("B", name)
	p.line(means)
}

// commands writes those below a node, each with what belongs to it and those below it.
func (p *page) commands(program string, of *kong.Node) {
	for _, c := range of.Children {
		if c.Hidden {
			continue
		}
		p.macro("SS", program+" "+c.Summary())
		p.line(c.Help)
		for i, text := range strings.Split(c.Detail, "\n") {
			if i > 0 || text != "" {
				p.macro("br")
				p.line(strings.TrimSpace(text))
			}
		}
		for _, a := range c.Positional {
			p.item(a.Summary(), a.Help)
		}
		p.flags(c)
		p.commands(program, c)
	}
}

// flags writes those of a node.
func (p *page) flags(of *kong.Node) {
	for _, f := range of.Flags {
		if !f.Hidden {
			p.item(f.String(), kong.DefaultHelpValueFormatter(f.Value))
		}
	}
}
