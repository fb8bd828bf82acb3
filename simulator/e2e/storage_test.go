package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/storage"
	"telltale.dev/protocol/events"

	"telltale.dev/simulator/fault"
	"telltale.dev/simulator/world"
)

// telltale runs the program that people use, and gives its output.
func (p *parked) telltale(args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), filepath.Join(programs(p.t), "telltale"), args...)
	cmd.Env = append(os.Environ(), "TELLTALE_API=http://"+p.world.Ports().HTTP)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("telltale %v: %v: %s", args, err, out)
	}
	return string(out)
}

// shows waits until telltale vehicles says a text of the vehicle.
func (p *parked) shows(text string) {
	p.t.Helper()
	var out string
	for end := time.Now().Add(time.Minute); !strings.Contains(out, text); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("telltale vehicles did not show %q, but\n%s", text, out)
		}
		out = p.telltale("vehicles")
	}
}

// TestLostData: the machine of a vehicle without connection starts with a new data partition, and
// starts again before it is connected. Then the operator is told, and once.
func TestLostData(t *testing.T) {
	t.Parallel()
	note := filepath.Join(t.TempDir(), "data-lost")
	p := park(t, "--storage-note="+note)
	p.presence("online", 10*time.Second)
	p.shows("DATA LOST")
	var watched bytes.Buffer
	watch := exec.CommandContext(t.Context(), filepath.Join(programs(t), "telltale"), "watch", "anna", "--api", "http://"+p.world.Ports().HTTP)
	watch.Stdout, watch.WaitDelay = &watched, time.Second
	watch.Cancel = func() error { return watch.Process.Signal(os.Interrupt) }
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	p.vehicle.Link.Set(fault.Cut)
	told := filepath.Join(p.world.Dir(), "agent", "loss-told")
	start := func() {
		t.Helper()
		before := p.vehicle.Status().Boot
		p.vehicle.Kill()
		if err := p.vehicle.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.await("runs again", 10*time.Second, func(s world.Status) bool { return s.Boot != before && s.Attached == len(cars[0].buses) })
	}
	if err := storage.Write(note, storage.Note{State: events.StorageRecreated, Reason: "superblock: read /dev/vda6: EOF", Boot: "b1"}); err != nil {
		t.Fatal(err)
	}
	start()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(told); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	start() // the agent alone
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	start() // the machine: it finds its data
	if out := p.telltale("vehicles"); strings.Contains(out, "recreated") {
		t.Fatalf("told without a connection?\n%s", out)
	}
	p.vehicle.Link.Set(fault.Up)
	p.shows(": superblock: read (path): EOF")
	p.await("delivered", 20*time.Second, func(s world.Status) bool { return s.Waiting == 0 })
	if err := storage.Write(note, storage.Note{State: events.StorageMemoryOnly, Boot: "b2"}); err != nil {
		t.Fatal(err)
	}
	start()
	p.shows("MEMORY ONLY since ")
	if err := p.world.StopCloud(t.Context()); err != nil { // ends the watch
		t.Fatal(err)
	}
	_ = watch.Wait()
	for line, want := range map[string]int{"tcu-a data partition: recreated: superblock: read (path): EOF": 1, "tcu-a data partition: memory-only": 1} {
		if n := strings.Count(watched.String(), line); n != want {
			t.Errorf("watch said %q %d times, want %d:\n%s", line, n, want, watched.String())
		}
	}
}
