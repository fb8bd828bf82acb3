package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
)

// parse is what the program makes of a command line.
func parse(t *testing.T, args ...string) (commands, *kong.Context, error) {
	t.Helper()
	var c commands
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := parser.Parse(args)
	return c, ctx, err
}

// written writes a configuration file and gives its path.
func written(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestFlagsAreSettings: what the configuration file may hold is a setting that its example shows,
// which is tested beside the settings; or else the flag of a command says that it is not for the file.
func TestFlagsAreSettings(t *testing.T) {
	_, ctx, err := parse(t, "version")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"config": true, "help": true, "version": true, "report": true}
	for _, command := range ctx.Model.Leaves(false) {
		if command.Name == "check" { // it has all settings, and flags of its own that are marked
			for _, f := range command.Flags {
				known[f.Name] = true
			}
		}
	}
	for _, command := range ctx.Model.Leaves(false) {
		for _, f := range command.Flags {
			if !known[f.Name] && !f.Tag.Has("nofile") && command.Name != "ledger" {
				t.Errorf("%s --%s: expected a setting, or the mark nofile", command.Name, f.Name)
			}
		}
	}
}
