package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/hal/canbus/virtual"
)

// listen is a supervisor's socket.
func listen(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, name
}

// heard is the next message within a time; "" when there is none.
func heard(t *testing.T, conn *net.UnixConn, within time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	var buf [1024]byte
	n, err := conn.Read(buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

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
	conn, socket := listen(t)
	cmd := supervised(t, socket, 300*time.Millisecond)
	if got := heard(t, conn, 10*time.Second); got != "READY=1" {
		t.Fatalf("first word: got %q, want READY=1", got)
	}
	for range 3 {
		if got := heard(t, conn, 2*time.Second); !strings.HasPrefix(got, "WATCHDOG=1\nSTATUS=not connected; buses attached: ") {
			t.Fatalf("got %q, want a sign of life", got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	last := ""
	for word := heard(t, conn, 2*time.Second); word != ""; word = heard(t, conn, time.Second) {
		last = word
	}
	if last != "STOPPING=1" {
		t.Errorf("last word: got %q, want STOPPING=1", last)
	}
}

// TestUnsupervised: without a watchdog it is ready and then silent.
func TestUnsupervised(t *testing.T) {
	conn, socket := listen(t)
	supervised(t, socket, 0)
	if got := heard(t, conn, 10*time.Second); got != "READY=1" {
		t.Fatalf("first word: got %q, want READY=1", got)
	}
	if got := heard(t, conn, 300*time.Millisecond); got != "" {
		t.Errorf("got %q, want silence", got)
	}
}
