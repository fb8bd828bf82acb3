// Package sample_test is what the runner's own tests run in a guest.
package sample_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWorld(t *testing.T) {
	fmt.Fprintln(os.Stderr, "said on standard error")
	for name, want := range map[string]string{"TELLTALE_VM": "1", "TELLTALE_WORD": "a = b, c", "CI": ""} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, path := range []string{"input.txt", filepath.Join("..", "..", "runner.go")} {
		if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}
	if age := time.Since(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); age < 0 {
		t.Errorf("the clock is %v before this program was written", -age)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	modules, err := os.ReadFile("/proc/modules")
	if err != nil || !strings.Contains(string(modules), "vcan ") {
		t.Errorf("modules: %v, expected vcan among\n%s", err, modules)
	}
	if out, err := exec.Command("sh", "-c", "unshare -Urn ip link show lo").CombinedOutput(); err != nil || !strings.Contains(string(out), "LOOPBACK") {
		t.Errorf("the shell: %v\n%s", err, out)
	}
	if _, err := net.InterfaceByName("dummy2"); err != nil { // of a module's parameter numdummies=3
		t.Error(err)
	}
}

// TestLong writes more than any buffer between guest and host holds.
func TestLong(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	for range 30_000 {
		os.Stdout.WriteString(line)
	}
}

func TestFail(t *testing.T)  { t.Error("as told") }
func TestPanic(t *testing.T) { panic("as told") }
func TestHang(t *testing.T)  { time.Sleep(time.Hour) }

func TestKilled(t *testing.T) { unix.Kill(unix.Getpid(), unix.SIGKILL) }

func TestPowerOff(t *testing.T) { unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) }

func TestKernelPanic(t *testing.T) { os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0) }
