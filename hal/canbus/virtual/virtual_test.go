package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(child(url, os.Getenv(childMode)))
	}
	goleak.VerifyTestMain(m)
}

// socket gives a short path for a unix socket; t.TempDir is too long on macOS.
func socket(t testing.TB) string {
	dir, err := os.MkdirTemp("/tmp", "tt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "h.sock")
}

// start runs a hub until the test ends.
func start(t testing.TB, address string, cfg virtual.Config) *virtual.Hub {
	t.Helper()
	hub, err := virtual.Listen(address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- hub.Run(context.Background()) }()
	t.Cleanup(func() {
		hub.Close()
		if err := <-ran; err != nil {
			t.Errorf("hub: %v", err)
		}
	})
	return hub
}

func dial(t testing.TB, url string) canbus.Bus {
	t.Helper()
	bus, err := virtual.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	return bus
}

func TestSuite(t *testing.T) {
	addresses := map[string]func(t *testing.T) string{
		"unix": func(t *testing.T) string { return socket(t) },
		"tcp":  func(*testing.T) string { return "127.0.0.1:0" },
	}
	for name, address := range addresses {
		for _, ring := range []int{100, 0} {
			t.Run(fmt.Sprintf("%s ring %d", name, ring), func(t *testing.T) {
				canbustest.Run(t, func(t *testing.T) (canbus.Bus, func([]can.Frame)) {
					size := ring
					if size != 0 && !strings.Contains(t.Name(), "drops") {
						size = 2000 // the other tests lose nothing
					}
					hub := start(t, address(t), virtual.Config{Buses: []string{"can0"}, RingFrames: size})
					return dial(t, hub.URL("can0")), func(f []can.Frame) { hub.Bus("can0").Send(f) }
				})
			})
		}
	}
}

// TestSuiteThroughPort sends through a second port instead of the hub.
func TestSuiteThroughPort(t *testing.T) {
	canbustest.Run(t, func(t *testing.T) (canbus.Bus, func([]can.Frame)) {
		hub := start(t, "127.0.0.1:0", virtual.Config{Buses: []string{"can0"}})
		sender := dial(t, hub.URL("can0")).(canbus.Sender)
		return dial(t, hub.URL("can0")), func(f []can.Frame) {
			if err := sender.Send(t.Context(), f); err != nil {
				t.Error(err)
			}
		}
	})
}

func receive(t testing.TB, bus canbus.Bus, n int) []can.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	frames := make([]can.Frame, n)
	for got := 0; got < n; {
		m, err := bus.Receive(ctx, frames[got:])
		if err != nil {
			t.Fatalf("after %d of %d frames: %v", got, n, err)
		}
		got += m
	}
	return frames
}

func TestEverybodyElseReceives(t *testing.T) {
	hub := start(t, socket(t), virtual.Config{Buses: []string{"can0", "can1"}})
	a, b, other := dial(t, hub.URL("can0")), dial(t, hub.URL("can0")), dial(t, hub.URL("can1"))
	send := func(bus canbus.Bus, first int) {
		if err := bus.(canbus.Sender).Send(t.Context(), canbustest.Numbered(first, 10)); err != nil {
			t.Fatal(err)
		}
	}
	send(a, 0)
	if got := receive(t, b, 10); got[9] != canbustest.Numbered(9, 1)[0] {
		t.Errorf("b got %+v", got[9])
	}
	send(b, 10)
	hub.Bus("can1").Send(canbustest.Numbered(50, 1))
	if got := receive(t, a, 10); canbustest.Number(&got[0]) != 10 {
		t.Errorf("a got frame %d first, want 10: not its own", canbustest.Number(&got[0]))
	}
	if got := receive(t, other, 1); canbustest.Number(&got[0]) != 50 {
		t.Errorf("can1 got frame %d, want 50: nothing of can0", canbustest.Number(&got[0]))
	}
	if err := hub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := hub.Attachments()
	if len(all) != 3 || all[0].Sent != 10 || all[1].Sent != 10 || all[0].Next != 20 || all[2].Next != 1 {
		t.Errorf("got attachments %+v", all)
	}
}

func TestTapSeesAll(t *testing.T) {
	type run struct {
		bus   string
		first uint64
		n     int
	}
	seen := make(chan run, 10)
	hub := start(t, socket(t), virtual.Config{Buses: []string{"can0"}, Tap: func(bus string, first uint64, frames []can.Frame) {
		seen <- run{bus, first, len(frames)}
	}})
	hub.Bus("can0").Send(canbustest.Numbered(0, 3))
	if got := <-seen; got != (run{"can0", 0, 3}) {
		t.Errorf("got %+v", got)
	}
	if err := dial(t, hub.URL("can0")).(canbus.Sender).Send(t.Context(), canbustest.Numbered(3, 2)); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != (run{"can0", 3, 2}) {
		t.Errorf("got %+v", got)
	}
}

func TestHubCloseEndsPorts(t *testing.T) {
	hub := start(t, socket(t), virtual.Config{Buses: []string{"can0"}})
	bus := dial(t, hub.URL("can0"))
	hub.Bus("can0").Send(canbustest.Numbered(0, 5))
	if err := hub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	hub.Close()
	receive(t, bus, 5)
	if n, err := bus.Receive(t.Context(), make([]can.Frame, 1)); n != 0 || err != io.EOF {
		t.Errorf("got %d, %v, want io.EOF", n, err)
	}
}

func TestDialErrors(t *testing.T) {
	hub := start(t, "127.0.0.1:0", virtual.Config{Buses: []string{"can0", "can1"}})
	foreign, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	go func() {
		if conn, err := foreign.Accept(); err == nil {
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.9 and more\r\n")
			conn.Close()
		}
	}()
	tests := []struct{ name, url, want string }{
		{"nothing listens on tcp", "virtual://127.0.0.1:1/can0", "nothing listens"},
		{"nothing listens on unix", "virtual://" + socket(t) + "?bus=can0", "virtual bus can0 on h.sock: nothing listens"},
		{"unknown bus", hub.URL("can7"), `there is no bus "can7"; there are can0, can1`},
		{"other server", "virtual://" + foreign.Addr().String() + "/can0", "no virtual bus"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			_, err := virtual.Dial(t.Context(), c.url)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDialWaits(t *testing.T) {
	path := socket(t)
	done := make(chan error, 1)
	go func() {
		bus, err := virtual.Dial(t.Context(), "virtual://"+path+"?bus=can0&wait=5s&name=late")
		if err == nil {
			bus.Close()
		}
		done <- err
	}()
	time.Sleep(100 * time.Millisecond)
	attached := make(chan virtual.Attachment, 1)
	start(t, path, virtual.Config{Buses: []string{"can0"}, OnAttach: func(a virtual.Attachment) { attached <- a }})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if a := <-attached; a.Name != "late" || a.PID != os.Getpid() || a.ID != 1 || a.First != 0 {
		t.Errorf("got %+v", a)
	}
}

func TestListenErrors(t *testing.T) {
	busy := socket(t)
	start(t, busy, virtual.Config{})
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, address, want string }{
		{"in use", busy, "address already in use"},
		{"no socket in the way", plain, "no socket"},
		{"not loopback", "0.0.0.0:0", "loopback"},
		{"no port", "localhost", "IP:PORT"},
		{"long path", "/tmp/" + strings.Repeat("x", 200) + ".sock", "at most 103"},
		{"no such folder", "/nowhere/h.sock", "no such file"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			hub, err := virtual.Listen(c.address, virtual.Config{})
			if err == nil {
				hub.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := socket(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as after a SIGKILL: the file stays
	hub := start(t, path, virtual.Config{Buses: []string{"can0"}})
	dial(t, hub.URL("can0"))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a socket for its owner only", info.Mode(), err)
	}
}

func TestParseURL(t *testing.T) {
	tests := []struct {
		url  string
		want virtual.Address
		err  string
	}{
		{"virtual:///tmp/h.sock?bus=can0", virtual.Address{Network: "unix", Host: "/tmp/h.sock", Bus: "can0"}, ""},
		{"virtual://127.0.0.1:4711/can0", virtual.Address{Network: "tcp", Host: "127.0.0.1:4711", Bus: "can0"}, ""},
		{"virtual://[::1]:4711?bus=can0", virtual.Address{Network: "tcp", Host: "[::1]:4711", Bus: "can0"}, ""},
		{"virtual:///tmp/h.sock?bus=can0&name=agent-1&wait=3s", virtual.Address{Network: "unix", Host: "/tmp/h.sock", Bus: "can0", Name: "agent-1", Wait: 3 * time.Second}, ""},
		{"virtual://127.0.0.1:4711", virtual.Address{}, "names no bus"},
		{"virtual://192.168.1.1:4711/can0", virtual.Address{}, "loopback"},
		{"virtual://127.0.0.1/can0", virtual.Address{}, "IP:PORT"},
		{"virtual://127.0.0.1:4711/can0?bus=can1", virtual.Address{}, "two buses"},
		{"virtual:///tmp/h.sock?bus=can0&ring=7", virtual.Address{}, "unknown parameter"},
		{"virtual:///tmp/h.sock?bus=can0&wait=soon", virtual.Address{}, "a duration"},
		{"virtual:///tmp/h.sock?bus=can0&bus=can1", virtual.Address{}, "2 times"},
		{"virtual:///tmp/h.sock?bus=can%200", virtual.Address{}, "letters"},
		{"virtual:can0", virtual.Address{}, "want virtual"},
		{"socketcan:can0", virtual.Address{}, "want virtual"},
	}
	for _, c := range tests {
		t.Run(c.url, func(t *testing.T) {
			got, err := virtual.ParseURL(c.url)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, c.want)
			}
			if again, err := virtual.ParseURL(got.URL()); err != nil || again != got {
				t.Errorf("%s: got %+v, %v", got.URL(), again, err)
			}
		})
	}
}

func TestSendRefusesImpossibleFrames(t *testing.T) {
	hub := start(t, socket(t), virtual.Config{Buses: []string{"can0"}})
	sender := dial(t, hub.URL("can0")).(canbus.Sender)
	for name, f := range map[string]can.Frame{
		"9 bytes":   {Len: 9},
		"65 bytes":  {Len: 65, Flags: can.FD},
		"12 bits":   {ID: 0x800},
		"30 bits":   {ID: can.Extended | 1<<29},
		"flag 0x80": {Flags: 0x80},
		"remote 9":  {Len: 9, Flags: can.Remote},
	} {
		if err := sender.Send(t.Context(), []can.Frame{f}); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if n := hub.Bus("can0").Frames(); n != 0 {
		t.Errorf("got %d frames on the bus, want 0", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sender.Send(ctx, canbustest.Numbered(0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
