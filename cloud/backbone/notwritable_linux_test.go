package backbone_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"telltale.dev/cloud/backbone"
)

// TestNotWritable opens a folder that this user may only read. Root may write
// everywhere, so as root the test's thread looks at files as nobody.
func TestNotWritable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread() // never unlocked: the thread ends with the test
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = unix.SetfsuidRetUid(0) }() // the folder is removed by root again
	}
	if _, err := backbone.Open(backbone.Config{Dir: dir}); !errors.Is(err, backbone.ErrNotWritable) {
		t.Errorf("got %v, want %v", err, backbone.ErrNotWritable)
	}
}
