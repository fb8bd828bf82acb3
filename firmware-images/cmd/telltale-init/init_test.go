package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestVirtualBoardOnly: what only QEMU's board needs is in no other board's first process.
func TestVirtualBoardOnly(t *testing.T) {
	for tags, want := range map[string]bool{"": false, "virtualboard": true} {
		cmd := exec.Command("go", "list", "-deps", "-tags", tags, ".")
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, pkg := range []string{"telltale.dev/firmware-images/vport", "telltale.dev/firmware-images/boot/virtual"} {
			if got := strings.Contains(string(out), pkg+"\n"); got != want {
				t.Errorf("tags %q: %s linked in: %v, want %v", tags, pkg, got, want)
			}
		}
	}
}
