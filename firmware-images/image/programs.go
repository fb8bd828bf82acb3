package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ourPrograms are built for the image: package by name.
var ourPrograms = map[string]string{
	"telltale-agent": "./agent/cmd/telltale-agent",
	"telltale-init":  "./firmware-images/cmd/telltale-init",
}

// programs builds them, static and the same from any folder.
func (b *build) programs(ctx context.Context, _ *Result) error {
	for name, pkg := range ourPrograms {
		out := filepath.Join(b.work, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, pkg)
		cmd.Dir = b.cfg.Root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+string(arch), "GOFLAGS=")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w: %s", pkg, err, lastLine(string(text)))
		}
		b.goes[name] = out
	}
	return nil
}
