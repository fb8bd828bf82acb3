//go:build linux

package partitions

import (
	"errors"
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

// TestGiveTree: all that has another owner is given, also behind what cannot be given; a link is given itself and does not lead out of the
// folder; what has the owner already is left alone; a folder that is not there is none; a large folder shows life.
func TestGiveTree(t *testing.T) {
	outside, dir := filepath.Join(t.TempDir(), "outside"), filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "b", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{outside, filepath.Join(dir, "a"), filepath.Join(dir, "b", "deep", "1.seg"), filepath.Join(dir, "z")} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	stranger := os.Getuid() + 1
	var given []string
	g := giver{user: stranger, alive: func() {}, chown: func(path string, uid, gid int) error {
		rel, err := filepath.Rel(dir, path)
		if given = append(given, rel); err != nil || uid != stranger || gid != stranger {
			t.Errorf("%s: got owner %d and group %d, %v, want %d", path, uid, gid, err, stranger)
		}
		if rel == "a" || rel == filepath.Join("b", "deep") {
			return &os.PathError{Op: "lchown", Path: path, Err: syscall.EPERM}
		}
		return nil
	}}
	err := g.tree(dir)
	if got, want := strings.Join(given, " "), ". a b b/deep b/deep/1.seg link z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "2 not given") {
		t.Errorf("got %v, want that two are not given", err)
	}
	given = nil
	g.user = os.Getuid() // of group 0 only where the test runs as root
	if err := g.tree(dir); os.Getuid() == os.Getgid() && (err != nil || given != nil) {
		t.Errorf("of the same owner: got %v, %v, want nothing", given, err)
	}
	if err := g.tree(dir + "-none"); err != nil {
		t.Errorf("no folder: got %v", err)
	}
	signs := 0
	g = giver{user: stranger, alive: func() { signs++ }, chown: func(string, int, int) error { return syscall.EPERM }}
	for i := range 2 * aliveEvery {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.tree(dir); signs != 2 || strings.Count(err.Error(), "not permitted") != maxNamed {
		t.Errorf("got %d signs of life and %v, want 2 and %d names", signs, err, maxNamed)
	}
}

// TestGiveTreeAsRoot: the kernel sees the new owner; what a link points to keeps its own.
func TestGiveTreeAsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away: make test-vm runs as root")
	}
	outside, dir := filepath.Join(t.TempDir(), "outside"), t.TempDir()
	inside, link := filepath.Join(dir, "1.seg"), filepath.Join(dir, "link")
	for _, file := range []string{outside, inside} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(outside, link), GiveToAgent(dir, 990, func() {})); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{dir: 990, inside: 990, link: 990, outside: 0} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s: got owner %d, want %d", filepath.Base(path), got, want)
		}
	}
}

// TestGiveDevices: only what is there, of the patterns that are asked for.
func TestGiveDevices(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chip0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := GiveDevices([]string{filepath.Join(dir, "tpm*"), filepath.Join(dir, "chip1")}, os.Getuid()+1); err != nil {
		t.Errorf("none is there: got %v", err)
	}
	err := GiveDevices([]string{filepath.Join(dir, "chip*")}, os.Getuid()+1)
	info, _ := os.Stat(filepath.Join(dir, "chip0"))
	if given := info.Sys().(*syscall.Stat_t).Uid == uint32(os.Getuid()+1); given == errors.Is(err, syscall.EPERM) {
		t.Errorf("got %v, given: %v, want one of both", err, given)
	}
}
