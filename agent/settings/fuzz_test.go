package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// FuzzConfig: whatever is in the file, the program gives one line that names the file, or takes it;
// and what it takes it takes again.
func FuzzConfig(f *testing.F) {
	text, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(setting.ReplaceAllString(string(text), "$1$2"))
	for _, text := range []string{complete, "buses: [{name: a, dbc: x}]", "data: &a x\nkey: *a", "power: {after: [stop]}", "- a", "a: b: c", "keep-alive: 1s\nkeep: {alive: 2s}", "{}", "\"data\": !!binary eA=="} {
		f.Add(text)
	}
	var c commands
	parser, err := kong.New(&c)
	if err != nil {
		f.Fatal(err)
	}
	known := knownFlags(parser.Model)
	name := filepath.Join(f.TempDir(), "agent.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file := newConfigFile()
		if err := file.load(name, known); err != nil {
			if !strings.HasPrefix(err.Error(), "agent.yaml:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		for flag, value := range file.values {
			place := file.places[flag]
			for _, entry := range asList(value) {
				if place == "" {
					place = file.places[flag+"="+entry]
				}
				if !strings.HasPrefix(place, "agent.yaml:") {
					t.Errorf("%s: %q has no place", flag, entry)
				}
			}
		}
		if err := newConfigFile().load(name, known); err != nil {
			t.Errorf("read again: %v", err)
		}
	})
}

// asList gives the entries of a value.
func asList(value any) (list []string) {
	switch v := value.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, entry := range v {
			list = append(list, entry.(string))
		}
	}
	return list
}
