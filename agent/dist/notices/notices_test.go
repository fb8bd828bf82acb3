package notices_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/agent/dist/notices"
)

// TestText: every module of each program that is given out is named with its version and its licence.
func TestText(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	for program, some := range map[string]string{
		"./agent/cmd/telltale-agent":          "github.com/fxamacker/cbor/v2",
		"./cloud/cmd/telltale-cloud":          "github.com/nats-io/nats-server/v2",
		"./simulator/cmd/telltale":            "github.com/alecthomas/kong",
		"./firmware-images/cmd/telltale-init": "github.com/insomniacslk/dhcp",
	} {
		modules, err := notices.Modules(root, append(os.Environ(), "GOOS=linux", "GOARCH=arm64"), "", program)
		if err != nil {
			t.Fatal(err)
		}
		text, err := notices.Text(modules)
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		named := false
		for _, m := range modules {
			named = named || m.Path == some
			if m.Path == "telltale.dev" || !strings.Contains(string(text), "\n"+m.Path+" "+m.Version+"\n") {
				t.Errorf("%s: %s is not as expected", program, m.Path)
			}
		}
		if !named || !strings.Contains(string(text), "The Go Authors") || strings.Contains(string(text), root+"/") {
			t.Errorf("%s: the text lacks %s or Go", program, some)
		}
		if got := strings.Count(string(text), "\n--- "); got <= len(modules) {
			t.Errorf("%s: got %d licences for Go and %d modules", program, got, len(modules))
		}
	}
}
