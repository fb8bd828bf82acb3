//go:build linux

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/hal/storage"
	"telltale.dev/protocol"
	"telltale.dev/protocol/can"
)

// TestEncode wants the kernel's struct can_frame and canfd_frame.
func TestEncode(t *testing.T) {
	for line, want := range map[string]string{
		"(0.0) can0 123#AABB":          "23010000" + "02000000" + "aabb000000000000",
		"(0.0) can0 12345678#01":       "78563492" + "01000000" + "0100000000000000",
		"(0.0) can0 123#R4":            "23010040" + "04000000" + "0000000000000000",
		"(0.0) can0 123##1AA":          "23010000" + "01010000" + "aa" + strings.Repeat("00", 63),
		"(0.0) can0 20000080#00000001": "80000020" + "04000000" + "0000000100000000",
	} {
		var f can.Frame
		if _, err := can.ParseCandump(line, &f); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(encode(&f)); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}

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
	leaveNote(path, protocol.StorageMemoryOnly, why)
	n, err := storage.Read(path)
	if err != nil || n == nil {
		t.Fatalf("got %v, %v", n, err)
	}
	if n.State != protocol.StorageMemoryOnly || n.Reason != "superblock: read (path): unexpected EOF" || len(n.Boot) != 36 {
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

// TestAttribute wants netlink's length, kind, value, and zeros up to 4 bytes.
func TestAttribute(t *testing.T) {
	if got, want := attribute(3, []byte("can0\x00")), []byte("\x09\x00\x03\x00can0\x00\x00\x00\x00"); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSocketsAreHandedOnce: the first agent gets them, with the words that tell of them.
func TestSocketsAreHandedOnce(t *testing.T) {
	a, b, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	s := &supervisor{sockets: []handedSocket{{"can0", a}, {"can1", b}}}
	words, files := s.hand()
	if got := strings.Join(words, " "); got != "LISTEN_FDS=2 LISTEN_FDNAMES=can0:can1" || len(files) != 2 || files[1] != b {
		t.Errorf("got %s with %d files", got, len(files))
	}
	if words, files := s.hand(); words != nil || files != nil {
		t.Errorf("the second time: got %v, %v", words, files)
	}
}
