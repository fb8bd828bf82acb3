package check_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"telltale.dev/agent/check"
)

// mount gives a small file system in memory. CI runs as root, and must be able to.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestSmallDisks(t *testing.T) {
	full := mount(t, "size=8m")
	expect(t, check.Disk{Dir: full, Wanted: 1 << 20}.Look()[0], "disk", check.Fail, "8 MiB free", "make room")
	if err := os.WriteFile(filepath.Join(full, "fill"), make([]byte, 8<<20), 0o600); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "fill2"), make([]byte, 1), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	expect(t, check.Disk{Dir: full}.Look()[0], "disk", check.Fail, "not writable: no space left on device", "make room")
	memory := mount(t, "size=64m")
	expect(t, check.Disk{Dir: memory, Wanted: 1 << 20}.Look()[0], "disk", check.Warn, "in memory: nothing survives", "real disk")
	if err := unix.Mount("", memory, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	expect(t, check.Disk{Dir: memory}.Look()[0], "disk", check.Fail, "not writable: read-only file system", "mounted for writing")
}
