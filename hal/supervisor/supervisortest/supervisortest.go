// Package supervisortest is a supervisor for tests: it hears what a process tells.
package supervisortest

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Listen makes a supervisor's socket, and gives its name for NOTIFY_SOCKET.
func Listen(t testing.TB) (*net.UnixConn, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, name
}

// Heard is the next message within a time; "" when there is none.
func Heard(t testing.TB, conn *net.UnixConn, within time.Duration) string {
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
