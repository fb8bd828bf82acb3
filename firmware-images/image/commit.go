package image

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// LastCommit gives the version of the sources, as .ci/version makes it, and the time of the last
// commit in seconds, or "unknown" and what the environment's SOURCE_DATE_EPOCH says.
func LastCommit(ctx context.Context, root string) (version string, seconds int64, err error) {
	cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
	cmd.Dir = root
	out, err := cmd.Output()
	version, text := "unknown", strings.TrimSpace(string(out))
	if err != nil {
		text = os.Getenv("SOURCE_DATE_EPOCH")
	} else if out, err = exec.CommandContext(ctx, "sh", filepath.Join(root, ".ci", "version"), root).Output(); err == nil && len(out) > 0 {
		version = strings.TrimSpace(string(out))
	}
	if seconds, err = strconv.ParseInt(text, 10, 64); err != nil {
		return "", 0, errors.New("--root: expected the repository's root folder, a git checkout, or else SOURCE_DATE_EPOCH in seconds")
	}
	return version, seconds, nil
}
