//go:build linux

package partitions

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"telltale.dev/hal/storage"
	"telltale.dev/protocol/events"
)

// TestClean looks at a file system that mke2fs makes, with and without errors.
func TestClean(t *testing.T) {
	program := "mke2fs"
	if _, err := exec.LookPath(program); err != nil {
		program = "/sbin/mke2fs"
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clean(disk); err == nil {
		t.Error("zeros: got no error")
	}
	if text, err := exec.Command(program, "-q", "-F", "-t", "ext4", disk).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("mke2fs: %v; Debian's e2fsprogs has it", err)
		}
		t.Fatalf("mke2fs: %v: %s", err, text)
	}
	if err := clean(disk); err != nil {
		t.Errorf("fresh: got %v", err)
	}
	data, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	data[superblockAt+58] |= withErrors
	if err := os.WriteFile(disk, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clean(disk); err == nil || !strings.Contains(err.Error(), "has errors") {
		t.Errorf("with errors: got %v", err)
	}
}

// TestLeaveNote leaves what the agent reads.
func TestLeaveNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data-lost")
	why := fmt.Errorf("superblock: %w", &os.PathError{Op: "read", Path: "/dev/vda6", Err: io.ErrUnexpectedEOF})
	Disk{Say: t.Logf}.leaveNote(path, events.StorageMemoryOnly, why)
	n, err := storage.Read(path)
	if err != nil || n == nil {
		t.Fatalf("got %v, %v", n, err)
	}
	if n.State != events.StorageMemoryOnly || n.Reason != "superblock: read (path): unexpected EOF" || len(n.Boot) != 36 {
		t.Errorf("got %+v", n)
	}
}

// TestAgentSettings: the agent of each board reads the note that is left.
func TestAgentSettings(t *testing.T) {
	files, err := filepath.Glob("../../*/agent.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nstorage-note: "+lostNote+"\n") {
			t.Errorf("%s: expected storage-note: %s", file, lostNote)
		}
	}
}

// TestAddressed: the addresses of the identity come after the image's own arguments, and win so.
func TestAddressed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "endpoint"), []byte("a.example:8883\nb.example:8883\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"agent", "run"}
	if got := strings.Join(Addressed(args, dir), " "); got != "agent run --endpoint a.example:8883 --endpoint b.example:8883" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(Addressed(args, t.TempDir()), " "); got != "agent run" {
		t.Errorf("without an identity: got %s", got)
	}
}

// TestGiveTree: what has another owner gets the new one, a link does not lead out of the folder, and a folder that is not there is none.
func TestGiveTree(t *testing.T) {
	user := os.Getuid()
	if user == 0 {
		user = 990
	}
	outside, dir := filepath.Join(t.TempDir(), "outside"), filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "buffer"), 0o700); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "buffer", "1.seg")
	for _, file := range []string{outside, inside} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{dir, dir, dir + "-none"} {
		if err := giveTree(folder, user); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{dir: user, filepath.Dir(inside): user, inside: user, link: user, outside: os.Getuid()} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != uint32(want) {
			t.Errorf("%s: got owner %d, want %d", filepath.Base(path), got, want)
		}
	}
}
