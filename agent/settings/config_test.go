package settings

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// example is the file that the package installs.
const example = "../dist/agent.yaml"

// commands are a program with settings.
type commands struct {
	Run struct {
		Settings `embed:""`
		Report   time.Duration
	} `cmd:""`
}

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

// setting is a key of the example that is commented out: the program's default.
var setting = regexp.MustCompile(`(?m)^( *)#([a-z0-9-]+:( |$))`)

// TestExample: the example is right, complete and tells the program's defaults.
func TestExample(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := parse(t, "run", "--config", written(t, string(text)))
	if err != nil {
		t.Fatalf("as it is installed: %v", err)
	}
	if want := []string{"can0=socketcan:can0"}; !slices.Equal(plain.Run.Can, want) {
		t.Errorf("buses: got %v, want %v", plain.Run.Can, want)
	}
	whole := written(t, setting.ReplaceAllString(string(text), "$1$2"))
	full, ctx, err := parse(t, "run", "--config", whole)
	if err != nil {
		t.Fatalf("with every setting: %v", err)
	}
	// The bus's own options are examples, not defaults; everything else must not change.
	if want := []string{"can0=socketcan:can0?bitrate=500000&buffer=4MiB&dbitrate=2000000&fd=on&listen-only=on&restart=100ms&send=0x123%2C0x18FEF100x"}; !slices.Equal(full.Run.Can, want) {
		t.Errorf("buses: got %v, want %v", full.Run.Can, want)
	}
	full.Run.Can, full.Run.J1939 = plain.Run.Can, plain.Run.J1939
	full.Run.file, plain.Run.file, full.Run.Config, plain.Run.Config = nil, nil, "", ""
	if len(full.Run.Campaign) == 0 {
		full.Run.Campaign = nil
	}
	if len(full.Run.Download) == 0 {
		full.Run.Download = nil
	}
	if !reflect.DeepEqual(full.Run, plain.Run) {
		t.Errorf("the example's defaults differ from the program's:\ngot  %+v\nwant %+v", full.Run, plain.Run)
	}
	for name := range knownFlags(ctx.Model) {
		if !slices.Contains(busFlags, name) && !mentions(string(text), name) {
			t.Errorf("the example lacks the setting %s", name)
		}
	}
}

// mentions says whether the example has a key for a flag, alone or in groups.
func mentions(text, name string) bool {
	parts := strings.Split(name, "-")
	if regexp.MustCompile(`(?m)^#?` + name + `:`).MatchString(text) {
		return true
	}
	for i := 1; i < len(parts); i++ {
		group, key := strings.Join(parts[:i], "-"), strings.Join(parts[i:], "-")
		if regexp.MustCompile(`(?m)^#?` + group + `:\n( +.*\n)*? +#?` + key + `:`).MatchString(text) {
			return true
		}
	}
	return false
}

// TestExampleIsDocumented: above every key, or above the keys it stands with, is a comment.
func TestExampleIsDocumented(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`^ *(#?|- )[a-z0-9-]+:( |$)`)
	told := false
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case key.MatchString(line):
			if !told {
				t.Errorf("line %d: %s: expected a comment above", i+1, strings.TrimSpace(line))
			}
		case strings.HasPrefix(strings.TrimSpace(line), "# "):
			told = true
		case strings.TrimSpace(line) == "":
			told = false
		}
	}
}

// complete is what every configuration needs.
const complete = `
data: /d
endpoint: [a:1, b:2]
cert: /c
key: /k
ca: /ca
buses:
  - {name: can0, dbc: [/x.dbc, /y.dbc], j1939: on}
  - {name: can1, url: virtual:/hub/can1}
`

func TestFlagsWin(t *testing.T) {
	name := written(t, complete+"keep-alive: 90s\nwill-delay: 7s\n")
	c, _, err := parse(t, "run", "--config", name, "--keep-alive", "33s", "--endpoint", "c:3")
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Run; r.KeepAlive != 33*time.Second || r.WillDelay != 7*time.Second || !slices.Equal(r.Endpoint, []string{"c:3"}) {
		t.Errorf("got %v, %v, %v", r.KeepAlive, r.WillDelay, r.Endpoint)
	}
	if want := []string{"can0=socketcan:can0", "can1=virtual:/hub/can1"}; !slices.Equal(c.Run.Can, want) {
		t.Errorf("got %v, want %v", c.Run.Can, want)
	}
	if want := []string{"can0=/x.dbc", "can0=/y.dbc"}; !slices.Equal(c.Run.DBC, want) || !slices.Equal(c.Run.J1939, []string{"can0"}) {
		t.Errorf("got %v and %v, want %v and can0", c.Run.DBC, c.Run.J1939, want)
	}
	// Buses of the command line stand alone: DBC files go with a bus of the same name only.
	for can, want := range map[string][]string{"can0": {"can0=/x.dbc", "can0=/y.dbc"}, "can7": nil} {
		c, _, err := parse(t, "run", "--config", name, "--can", can+"=virtual:/hub/x")
		if err != nil || len(c.Run.Can) != 1 || !slices.Equal(c.Run.DBC, want) {
			t.Errorf("--can %s: got %v, %v, %v, want DBC files %v", can, c.Run.Can, c.Run.DBC, err, want)
		}
	}
}

// TestConfigErrors: each mistake is one line that names file, line and key.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown", "\n\nkeep-alife: 3s", "agent.yaml:3: keep-alife: is not a key of the configuration"},
		{"unknown in a group", "log:\n  lavel: info", "agent.yaml:2: log.lavel: is not a key"},
		{"time", "keep-alive: soon", `agent.yaml:1: keep-alive: expected a time such as 10s or 5m, found "soon"`},
		{"count", "update: {release: -1}", `agent.yaml:1: update.release: expected a whole number from 0, found "-1"`},
		{"limit", "upload: {metered: some}", `agent.yaml:1: upload.metered: expected all, urgent or none, found "some"`},
		{"value for keys", "power: on", `agent.yaml:1: power: expected keys with values, found "on"`},
		{"number", "data: /x\nwindow: many", `agent.yaml:2: window: expected a whole number, found "many"`},
		{"level", "log-level: loud", `agent.yaml:1: log-level: expected debug, info, warn or error, found "loud"`},
		{"list for a value", "data: [a, b]", "agent.yaml:1: data: expected one value, found a list"},
		{"keys for a value", "data: {a: b}", "agent.yaml:1: data: expected one value, found keys with values"},
		{"keys for a list", "endpoint: {a: b}", "agent.yaml:1: endpoint: expected a list, found keys with values"},
		{"list in a list", "endpoint:\n  - a\n  - [b]", "agent.yaml:3: endpoint: expected one value, found a list"},
		{"nothing", "data:\nkey: /k", "agent.yaml:1: data: expected a value, found nothing"},
		{"empty", `data: ""`, "agent.yaml:1: data: expected one value, found nothing"},
		{"alias", "data: &a /x\nkey: *a", "agent.yaml:2: key: expected one value, found an alias"},
		{"twice", "data: /x\nkey: /k\ndata: /y", "agent.yaml:3: data: expected once, it is in line 1 already"},
		{"twice, as group", "log-level: info\nlog: {level: warn}", "agent.yaml:2: log.level: expected once"},
		{"no mapping", "- a", "agent.yaml:1: expected keys with values, found a list"},
		{"no YAML", "data: [", "agent.yaml: line 1: "},
		{"two documents", "data: /x\n---\ndata: /y", "agent.yaml: expected one YAML document"},
		{"flag of buses", "can: [can0=x]", "agent.yaml:1: can: is not a key"},
		{"buses", "buses: can0", `agent.yaml:1: buses: expected a list of buses, each with a name; found "can0"`},
		{"bus without name", "buses:\n  - url: socketcan:can0", "agent.yaml:2: buses: expected a name"},
		{"bus key", "buses:\n  - name: can0\n    baud: 1", "agent.yaml:3: buses.baud: is not a key of a bus"},
		{"bus name", "buses: [{name: a=b}]", "agent.yaml:1: buses.name: expected a name without"},
		{"bit rate", "buses: [{name: a, bitrate: fast}]", `agent.yaml:1: buses.bitrate: expected bits per second, such as 500000, found "fast"`},
		{"restart", "buses: [{name: a, restart: soon}]", `agent.yaml:1: buses.restart: expected a time such as 100ms, found "soon"`},
		{"receive buffer", "buses: [{name: a, buffer: big}]", `agent.yaml:1: buses.buffer: expected a size such as 4MiB, found "big"`},
		{"switch", "buses: [{name: a, fd: 3}]", `agent.yaml:1: buses.fd: expected on or off, found "3"`},
		{"j1939", "buses: [{name: a, j1939: 3}]", `agent.yaml:1: buses.j1939: expected on or off, found "3"`},
		{"option elsewhere", "buses: [{name: a, url: 'virtual:/x', fd: on}]", "agent.yaml:1: buses: a: expected bit rates and switches with a url of the form socketcan:INTERFACE only"},
		{"dbc", "buses: [{name: a, dbc: {x: y}}]", "agent.yaml:1: buses.dbc: expected a list, found keys with values"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := parse(t, "run", "--config", written(t, test.text))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line that begins with %q", err, test.want)
			}
		})
	}
	if _, _, err := parse(t, "run", "--config", filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.HasPrefix(err.Error(), "--config: open ") {
		t.Errorf("no file: got %v", err)
	}
}
