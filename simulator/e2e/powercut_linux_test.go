package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/simulator/world"
)

// disks are two ext4 file systems in image files, one for the agent's folder
// and one for the cloud's. Cutting their power drops everything that is not on
// the medium, that is all that no fsync has put there:
//
//	process ── write ─► page cache ── fsync ─► ext4 journal and blocks ─► loop device ─► image file
//	                    └─ lost by a cut ─┘    └───────────────── stays ─────────────────┘
type disks struct{ agent, cloud disk }

// disk is one file system.
type disk struct {
	mount string // where it is mounted
	loop  string // its block device
}

// The ioctl that shuts a file system down, and its way without writing the journal (Linux, fs/ext4/ext4.h).
const (
	ioctlShutdown     = 0x8004587D // EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
	shutdownNoJournal = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// imageSize is sparse: only what is written takes room.
const imageSize = 1 << 30

// newDisks makes the file systems and mounts them as dir/agent and dir/cloud. Where that is not possible it skips the test; CI must be able to.
func newDisks(t *testing.T, dir string) *disks {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if os.Geteuid() != 0 {
		skip("cutting power below the page cache needs root, to mount file systems")
	}
	for _, tool := range []string{"losetup", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip("cutting power below the page cache needs %s", tool)
		}
	}
	d := &disks{}
	for name, one := range map[string]*disk{"agent": &d.agent, "cloud": &d.cloud} {
		one.mount = filepath.Join(dir, name)
		if err := one.create(t.TempDir()); err != nil {
			skip("cutting power below the page cache needs loop devices: %v", err)
		}
		t.Cleanup(func() { one.remove(t) })
	}
	return d
}

// create makes the image in a folder of its own, so that it is gone afterwards.
func (d *disk) create(folder string) error {
	image := filepath.Join(folder, "image")
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(imageSize), f.Close()); err != nil {
		return err
	}
	if err := run("mkfs.ext4", "-q", "-E", "nodiscard", image); err != nil {
		return err
	}
	out, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		return fmt.Errorf("losetup: %w", err)
	}
	d.loop = strings.TrimSpace(string(out))
	if err := os.MkdirAll(d.mount, 0o700); err != nil {
		return err
	}
	if err := d.attach(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(filepath.Join(d.mount, "lost+found")), d.sync())
}

func (d *disk) attach() error {
	if err := unix.Mount(d.loop, d.mount, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

func (d *disk) remove(t *testing.T) {
	t.Helper()
	if t.Failed() { // what is on the disk stays to be looked at
		if err := os.CopyFS(d.mount+"-kept", os.DirFS(d.mount)); err != nil {
			t.Errorf("keep %s: %v", d.mount, err)
		}
	}
	if err := errors.Join(unix.Unmount(d.mount, unix.MNT_DETACH), run("losetup", "--detach", d.loop)); err != nil {
		t.Errorf("remove %s: %v", d.mount, err)
	}
}

// sync puts all of the file system on the medium.
func (d *disk) sync() error { return d.do(unix.Syncfs) }

// fail takes the file system away without putting anything more on the medium.
func (d *disk) fail() error {
	return d.do(func(fd int) error { return unix.IoctlSetPointerInt(fd, ioctlShutdown, shutdownNoJournal) })
}

func (d *disk) do(what func(fd int) error) error {
	f, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	return errors.Join(what(int(f.Fd())), f.Close())
}

// unmountWait is how long the kernel may need to let go of the files of a process that was killed.
const unmountWait = 5 * time.Second

// again mounts the file system as after a power cut: the journal is played back.
func (d *disk) again() error {
	for end := time.Now().Add(unmountWait); ; time.Sleep(time.Millisecond) {
		err := unix.Unmount(d.mount, 0)
		if err == nil {
			return d.attach()
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("unmount: %w", err)
		}
	}
}

// Cut implements power.
func (d *disks) Cut(w *world.World, v *world.Device, agent, cloud bool) error {
	// All stand still before the first disk goes: nobody may notice its end.
	if agent {
		v.Freeze()
	}
	if cloud {
		w.FreezeCloud()
	}
	var errs []error
	if agent {
		errs = append(errs, d.agent.fail())
	}
	if cloud {
		errs = append(errs, d.cloud.fail())
	}
	if agent {
		v.Kill()
		errs = append(errs, d.agent.again())
	}
	if cloud {
		w.KillCloud()
		errs = append(errs, d.cloud.again())
	}
	return errors.Join(errs...)
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
