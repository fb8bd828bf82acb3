//go:build linux

package partitions

import (
	"os"
	"path/filepath"
	"strings"
)

// Addressed is the agent's command line with the addresses that the device's identity in dir names, which win over the
// image's settings.
func Addressed(args []string, dir string) []string {
	args = args[:len(args):len(args)]
	for _, name := range []string{"endpoint", "download"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		for _, address := range strings.Fields(string(text)) {
			args = append(args, "--"+name, address)
		}
	}
	return args
}
