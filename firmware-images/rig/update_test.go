package rig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// initWith is the board's init.yaml with a line replaced.
func initWith(t *testing.T, old, fresh string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "firmware-images", "qemu-arm64", "init.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), old, fresh, 1)
	if changed == string(text) {
		t.Fatalf("init.yaml has no %q", old)
	}
	return map[string][]byte{"etc/telltale/init.yaml": []byte(changed)}
}

// hang is a program that takes the processor for ever, as the agent.
func hang(t *testing.T) map[string][]byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "hang")
	if err := goBuild(out, []string{"GOOS=linux", "GOARCH=arm64"}, "./firmware-images/rig/testdata/hang"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"bin/telltale-agent": data}
}

// TestUpdates is the A/B table: one device, one update after the other.
func TestUpdates(t *testing.T) {
	shared := newBench(t)
	t.Parallel()
	b := newBoard(t, shared)
	b.on()
	b.online(2 * time.Minute)
	b.runs(time.Minute, "1.0.0", "A")
	foreign := must(stranger())(t)
	for _, c := range []struct {
		name   string
		file   func() string
		args   []string
		within time.Duration
		state  string // how the update ends
		reason string // "": none
		runs   string // version and slot that run then
		long   bool   // left out by -short
	}{
		{"another key", func() string { return foreign.Update }, nil, time.Minute, "FAILED", "WRONG_KEY", "1.0.0 A", false},
		{"an older release", func() string { return shared.variant(t, "0.9.0", baseRelease-1, nil).Update }, nil, time.Minute, "FAILED", "OLDER_RELEASE", "1.0.0 A", false},
		{"a panic", func() string {
			return shared.variant(t, "1.1.0-panic", goodRelease, map[string][]byte{"init": []byte("no program")}).Update
		}, nil, 3 * time.Minute, "ROLLED_BACK", "BOOT_FAILED", "1.0.0 A", false},
		{"an agent that does not start", func() string {
			return shared.variant(t, "1.1.0-crash", goodRelease, initWith(t, "[/bin/telltale-agent, run,", "[/bin/telltale-agent, fall,")).Update
		}, nil, 3 * time.Minute, "ROLLED_BACK", "BOOT_FAILED", "1.0.0 A", true},
		{"an agent without its bus", func() string {
			return shared.variant(t, "1.1.0-sick", goodRelease, initWith(t, `name: can0, make: vcan, cable: telltale.can0, listen: "socketcan:can0"`, "name: can9, make: vcan")).Update
		}, []string{"--health", "10s"}, 3 * time.Minute, "ROLLED_BACK", "UNHEALTHY", "1.0.0 A", false},
		{"a hang", func() string { return shared.variant(t, "1.1.0-hang", goodRelease, hang(t)).Update }, nil, 4 * time.Minute, "ROLLED_BACK", "BOOT_FAILED", "1.0.0 A", true},
		{"a good one", func() string { return must(goodUpdate())(t) }, nil, 2 * time.Minute, "CONFIRMED", "", "1.1.0 B", false},
		{"an older one that is allowed", func() string { return filepath.Join(shared.image, "update.ttup") }, []string{"--allow-downgrade"}, 2 * time.Minute, "CONFIRMED", "", "1.0.0 A", true},
	} {
		if c.long && testing.Short() {
			continue
		}
		ok := t.Run(c.name, func(t *testing.T) {
			b.t = t
			file := c.file()
			began := time.Now()
			if err := b.start(file, c.args...); err != nil {
				t.Fatal(err)
			}
			u := b.ends(c.within)
			took := time.Since(began)
			if u.State != c.state || (c.reason != "" && u.Reason != c.reason) {
				t.Errorf("ended %s %s (%s), want %s %s", u.State, u.Reason, u.Detail, c.state, c.reason)
			}
			version, slot, _ := strings.Cut(c.runs, " ")
			b.runs(time.Minute, version, slot)
			t.Logf("%5.1f s  %s %s; runs %s; steps: %s", took.Seconds(), u.State, u.Reason, c.runs, u.states())
		})
		if !ok {
			return // the device is not in the state that the next one expects
		}
	}
}

// TestCorruptAfterInstall changes a bit of the new slot before it is started: the
// boot loader sees it, and the vehicle says that the update has come to nothing.
func TestCorruptAfterInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("TestBootState does the boot loader's part")
	}
	shared := newBench(t)
	t.Parallel()
	b := newBoard(t, shared)
	b.on()
	b.online(2 * time.Minute)
	if err := b.start(must(goodUpdate())(t)); err != nil {
		t.Fatal(err)
	}
	b.says(2*time.Minute, "restarting: the agent asks for it")
	b.PowerCut()
	if err := b.Overwrite("slot-b", 4<<20, []byte("a bit of another slot")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.on()
	b.says(time.Minute, "slot B holds nothing that may be started", "slot A")
	u := b.ends(2 * time.Minute)
	if u.State != "ROLLED_BACK" && u.State != "FAILED" {
		t.Errorf("ended %s (%s), want ROLLED_BACK or FAILED", u.State, u.Detail)
	}
	b.runs(time.Minute, "1.0.0", "A")
	t.Logf("%5.1f s  %s %s (%s)", time.Since(began).Seconds(), u.State, u.Reason, u.Detail)
}

// TestLostData damages the data partition, and then takes it away: the device
// repairs it, makes it anew, goes on, and tells the cloud when something was lost.
func TestLostData(t *testing.T) {
	shared := newBench(t)
	t.Parallel()
	b := newBoard(t, shared)
	for _, c := range []struct {
		damage int // bytes from the start
		says   []string
		lost   string // what the cloud says
	}{
		{0, nil, "nothing"},
		{1 << 20, []string{"data partition repaired"}, "nothing"}, // a copy of the superblock is elsewhere
		{64 << 20, []string{"data partition lost", "data partition made anew"}, "recreated"},
		{0, nil, "recreated, over"},
	} {
		if c.damage == 0 && testing.Short() {
			continue
		}
		if err := b.Overwrite("data", 0, make([]byte, c.damage)); err != nil {
			t.Fatal(err)
		}
		b.on()
		b.says(time.Minute, append(c.says, "agent ready")...)
		b.online(2 * time.Minute)
		b.lost(time.Minute, c.lost)
		if text := b.Machine().Output(); c.says == nil && strings.Contains(text, "data partition") {
			t.Errorf("a start without damage speaks of the data partition: %s", text)
		}
		b.PowerCut()
	}
}

// cuts is how many power cuts TestPowerCuts makes.
func cuts(t *testing.T) int {
	t.Helper()
	n := 3
	if text := os.Getenv("TELLTALE_CUTS"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil {
			t.Fatalf("TELLTALE_CUTS: %v", err)
		}
	}
	return n
}
