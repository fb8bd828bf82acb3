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
	for name := range ourPrograms {
		if err := b.compile(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// virtualTag is the build tag of what only a virtual board's first process needs.
const virtualTag = "virtualboard"

// compile builds one of our programs, which knows the version of the firmware it is in.
func (b *build) compile(ctx context.Context, name string) error {
	out := filepath.Join(b.work, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", b.tags(),
		"-ldflags=-s -w -buildid= -X telltale.dev/protocol.stamped="+b.cfg.Version, "-o", out, ourPrograms[name])
	cmd.Dir = b.cfg.Root
	cmd.Env = b.environment()
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", ourPrograms[name], err, lastLine(string(text)))
	}
	b.goes[name] = out
	return nil
}

// tags are the build tags of our programs.
func (b *build) tags() string {
	if b.board.Virtual {
		return virtualTag
	}
	return ""
}

// environment is that of the go command.
func (b *build) environment() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+string(arch), "GOFLAGS=")
}
