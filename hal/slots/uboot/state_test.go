package uboot_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
)

// checksummed makes a sector of what follows its checksum.
func checksummed(sector []byte) []byte {
	sector = append(bytes.Clone(sector), make([]byte, uboot.SectorSize)...)[:uboot.SectorSize]
	binary.LittleEndian.PutUint32(sector, crc32.ChecksumIEEE(sector[4:]))
	return sector
}

// tool finds a program of Debian, or skips; where everything is installed it fails instead.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, name); exec.Command(path, "-h").Run() == nil || exists(path) {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; expected Debian's %s", name, pkg)
	}
	t.Skipf("%s is missing; Debian's %s has it", name, pkg)
	return ""
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// TestMkenvimage wants the same bytes as U-Boot's own tool.
func TestMkenvimage(t *testing.T) {
	mkenvimage := tool(t, "mkenvimage", "u-boot-tools")
	out := filepath.Join(t.TempDir(), "env")
	cmd := exec.Command(mkenvimage, "-s", fmt.Sprint(uboot.SectorSize), "-p", "0", "-o", out, "-")
	cmd.Stdin = strings.NewReader("BOOT_A_LEFT=3\nBOOT_B_LEFT=0\nBOOT_ORDER=A\n")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := uboot.EncodeState(slots.A); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFwSetenv lets fw_printenv read what we write, and reads what fw_setenv writes.
func TestFwSetenv(t *testing.T) {
	setenv := tool(t, "fw_setenv", "libubootenv-tool")
	printenv := tool(t, "fw_printenv", "libubootenv-tool")
	b := newBoard(t, 4096)
	config := filepath.Join(t.TempDir(), "fw_env.config")
	line := fmt.Sprintf("%s %#x %#x\n", b.cfg.State, offset, uboot.SectorSize)
	if err := os.WriteFile(config, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, append([]string{"-c", config}, args...)...)
		cmd.Dir = t.TempDir() // its lock file
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", filepath.Base(program), args, err, text)
		}
		return string(text)
	}
	if err := b.slots().Install(t.Context(), bytes.NewReader([]byte("x")), 1); err != nil {
		t.Fatal(err)
	}
	text := run(printenv)
	for _, want := range []string{"BOOT_ORDER=B A\n", "BOOT_A_LEFT=3\n", "BOOT_B_LEFT=3\n", "TELLTALE_TRIAL=B\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("fw_printenv: got %q, want %q in it", text, want)
		}
	}
	run(setenv, "BOOT_ORDER", "A")
	run(setenv, "BOOT_A_LEFT", "1")
	got, err := b.slots().Status()
	if err != nil || got.Problem != "" || len(got.Order) != 1 || got.Order[0] != slots.A || got.Left[slots.A] != 1 {
		t.Errorf("got %+v, %v, want A alone with one try", got, err)
	}
}

// FuzzState wants: whatever stands in the sector, there is a state to start
// from; and what we read without a problem we write again with the same meaning.
func FuzzState(f *testing.F) {
	f.Add(uboot.EncodeState(slots.A)[4:])
	f.Add([]byte("BOOT_A_LEFT=2\x00BOOT_B_LEFT=3\x00BOOT_ORDER=B A\x00TELLTALE_TRIAL=B\x00x=y\x00\x00"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > uboot.SectorSize-4 {
			t.Skip()
		}
		path := filepath.Join(dir, "state")
		if err := os.WriteFile(path, checksummed(append(make([]byte, 4), text...)), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := uboot.Open(uboot.Config{State: path, Images: map[slots.Slot]string{"A": "-", "B": "--"}, Booted: "A"})
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.Status()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Confirm(); err != nil {
			if before.Problem == "" && !strings.Contains(err.Error(), "bytes of variables") {
				t.Fatal(err)
			}
			return
		}
		after, err := s.Status()
		if err != nil || after.Problem != "" || after.Order[0] != "A" || after.Left["A"] != slots.Tries || after.Left["B"] != before.Left["B"] {
			t.Errorf("got %+v, %v after %+v", after, err, before)
		}
	})
}
