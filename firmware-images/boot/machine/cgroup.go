//go:build linux

package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// cgroups is where the control groups are (cgroups(7), version 2).
const cgroups = "/sys/fs/cgroup"

// DelegateCgroup makes the control group of that name and hands it to a user, who may divide it
// further but cannot change its bounds. It gives the group's open folder.
func DelegateCgroup(name string, user int) (*os.File, error) {
	if err := unix.Mount("cgroup2", cgroups, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	dir := filepath.Join(cgroups, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	// What a delegated group consists of: cgroups(7), "Cgroups delegation".
	for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(dir, file), user, user); err != nil {
			return nil, fmt.Errorf("control groups: %w", err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	return f, nil
}
