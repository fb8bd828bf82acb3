package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent"
	"telltale.dev/agent/local"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/hal/supervisor/supervisortest"
)

// TestReload: SIGHUP lets the agent read its configuration again, in the same process. What cannot be used changes
// nothing. Meanwhile it tells who asks what it does.
func TestReload(t *testing.T) {
	hub, err := virtual.Listen("127.0.0.1:0", virtual.Config{Buses: []string{"can0", "can1"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = hub.Run(t.Context()) }()
	t.Cleanup(func() { hub.Close() })
	id := newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	data, config := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "agent.yaml")
	configure := func(text string) {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one := fmt.Sprintf("data: %s\nendpoint: [\"127.0.0.1:1\"]\nbuses:\n  - {name: can0, url: \"%s\"}\n", data, hub.URL("can0"))
	configure(one)
	self, err := exec.LookPath("telltale-agent") // testscript.Main puts it there
	if err != nil {
		t.Fatal(err)
	}
	conn, socket := supervisortest.Listen(t)
	cmd := exec.Command(self, append([]string{"run", "--config", config}, id.flags()...)...)
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), "NOTIFY_SOCKET="+socket), &syscall.SysProcAttr{Setsid: true} // no terminal
	var log heard
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); t.Log(log.text()) })
	said := func(want string) {
		t.Helper()
		if got := supervisortest.Heard(t, conn, time.Minute); got != want {
			t.Fatalf("to the supervisor: got %q, want %q", got, want)
		}
	}
	asked := func(buses int) agent.Status {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			var s agent.Status
			err := local.Status(context.Background(), data, &s)
			if err == nil && s.Attached == buses {
				return s
			}
			if time.Now().After(end) {
				t.Fatalf("got %+v, %v, want %d buses", s, err, buses)
			}
		}
	}
	said("READY=1")
	first := asked(1)
	out, err := exec.Command(self, "status", "--config", config).CombinedOutput()
	for _, want := range []string{"link ", "not connected (", "bus can0 ", "attached; 0 frames received", "campaign ", "none: nothing is collected"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("status: got %v and\n%s\nwant %q", err, out, want)
		}
	}

	hangup := func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	for n, wrong := range []string{
		"buffer: nonsense", "network: rotes", "power: {ignition: \"gpoi:chip\"}", "slots: ubot",
		"slots: \"owner:/run/none\"\nupdate: {keys: [/none.pem]}", "campaigns: [/none.yaml]", "dbc: 1",
	} {
		configure(one + wrong + "\n")
		hangup()
		for end := time.Now().Add(time.Minute); strings.Count(log.text(), "configuration is not taken") <= n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: it was taken, or nothing was said", wrong)
			}
		}
	}
	if s := asked(1); s.Boot != first.Boot {
		t.Errorf("got another start after a configuration that cannot be used")
	}

	configure(one + fmt.Sprintf("  - {name: can1, url: \"%s\"}\n", hub.URL("can1")))
	hangup()
	said("RELOADING=1")
	said("READY=1")
	if s := asked(2); s.Boot == first.Boot {
		t.Errorf("got the same start, want another")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if text := log.text(); !strings.Contains(text, "configuration is not taken") || !strings.Contains(text, "agent.yaml:5: buffer") {
		t.Errorf("the log does not say what is wrong with the configuration")
	}
}

// heard is what a process says while it runs.
type heard struct {
	mu   sync.Mutex // guards said
	said strings.Builder
}

// Write implements io.Writer.
func (h *heard) Write(text []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.Write(text)
}

func (h *heard) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}
