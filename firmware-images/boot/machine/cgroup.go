//go:build linux

package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups is where the control groups are (cgroups(7), version 2).
const cgroups = "/sys/fs/cgroup"

// Cgroup is a control group that was handed to a user. The zero Cgroup is none.
type Cgroup struct {
	Dir *os.File // its open folder; nil: none
	dir string
}

// DelegateCgroup makes the control group of that name and hands it to a user, who may divide it
// further but cannot change its bounds.
func DelegateCgroup(name string, user int) (Cgroup, error) {
	if err := unix.Mount("cgroup2", cgroups, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return Cgroup{}, fmt.Errorf("control groups: %w", err)
	}
	dir := filepath.Join(cgroups, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Cgroup{}, fmt.Errorf("control groups: %w", err)
	}
	// What a delegated group consists of: cgroups(7), "Cgroups delegation".
	for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(dir, file), user, user); err != nil {
			return Cgroup{}, fmt.Errorf("control groups: %w", err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return Cgroup{}, fmt.Errorf("control groups: %w", err)
	}
	return Cgroup{f, dir}, nil
}

// emptyWait is how long killed processes may take to be gone: one that waits for a disk cannot end before that answers.
const emptyWait = 2 * time.Second

// Kill ends all processes of the group and of those below it, whatever they have made of themselves, and waits until they are gone.
func (c Cgroup) Kill() error { return c.kill(emptyWait) }

func (c Cgroup) kill(wait time.Duration) error {
	if c.Dir == nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0); err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		events, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
		if err != nil {
			return fmt.Errorf("control groups: %w", err)
		}
		if bytes.Contains(events, []byte("populated 0")) {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("control groups: what the agent left behind does not end")
		}
	}
}
