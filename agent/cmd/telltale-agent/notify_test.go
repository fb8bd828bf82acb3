package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/hal/supervisor/supervisortest"
)

// supervised starts the program with a supervisor.
func supervised(t *testing.T, socket string, watchdog time.Duration) *exec.Cmd {
	t.Helper()
	hub, err := virtual.Listen("127.0.0.1:0", virtual.Config{Buses: []string{"can0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hub.Close() })
	id := newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	self, err := exec.LookPath("telltale-agent") // testscript.Main puts it there
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"run", "--data", t.TempDir(), "--can", "can0=" + hub.URL("can0"), "--endpoint", "127.0.0.1:1"}, id.flags()...)...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	if watchdog > 0 {
		cmd.Env = append(cmd.Env, "WATCHDOG_USEC="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestSupervised: the program says that it is ready, gives signs of life, and says when it stops.
func TestSupervised(t *testing.T) {
	conn, socket := supervisortest.Listen(t)
	cmd := supervised(t, socket, 300*time.Millisecond)
	if got := supervisortest.Heard(t, conn, 10*time.Second); got != "READY=1" {
		t.Fatalf("first word: got %q, want READY=1", got)
	}
	for range 3 {
		if got := supervisortest.Heard(t, conn, 2*time.Second); !strings.HasPrefix(got, "WATCHDOG=1\nSTATUS=not connected; buses attached: ") {
			t.Fatalf("got %q, want a sign of life", got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	last := ""
	for word := supervisortest.Heard(t, conn, 2*time.Second); word != ""; word = supervisortest.Heard(t, conn, time.Second) {
		last = word
	}
	if last != "STOPPING=1" {
		t.Errorf("last word: got %q, want STOPPING=1", last)
	}
}

// TestUnsupervised: without a watchdog it is ready and then silent.
func TestUnsupervised(t *testing.T) {
	conn, socket := supervisortest.Listen(t)
	supervised(t, socket, 0)
	if got := supervisortest.Heard(t, conn, 10*time.Second); got != "READY=1" {
		t.Fatalf("first word: got %q, want READY=1", got)
	}
	if got := supervisortest.Heard(t, conn, 300*time.Millisecond); got != "" {
		t.Errorf("got %q, want silence", got)
	}
}
