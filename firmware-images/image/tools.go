package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrTool is wrapped when a program that the builder needs is not installed.
var ErrTool = errors.New("program missing")

// tools are the programs and the Debian packages that have them.
var tools = map[string]string{
	"mkimage": "u-boot-tools", "dtc": "device-tree-compiler",
	"mke2fs": "e2fsprogs", "qemu-system-aarch64": "qemu-system-arm", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
}

// tool finds a program, also where only root's PATH looks.
func tool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s (Debian's package %s)", ErrTool, name, tools[name])
}

// run runs one of the tools in a folder. The epoch dates what it writes.
func (b *build) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := tool(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = b.work
	epoch := fmt.Sprint(b.cfg.Epoch.Unix())
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "SOURCE_DATE_EPOCH="+epoch, "E2FSPROGS_FAKE_TIME="+epoch)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, lastLine(complaint.String()))
	}
	return out, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
