package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/fault"
	"telltale.dev/simulator/world"
)

// fleetOfOne is a cloud and one vehicle with firmware slots, as real programs.
type fleetOfOne struct {
	t       *testing.T
	dir     string
	world   *world.World
	board   *world.Board
	vehicle *world.Device
	link    *fault.Link // to the download server
}

// firmwareState is what the API says; see cloud/api.
type firmwareState struct {
	Devices []struct {
		Version, Slot string
		Trial         bool
	}
	Update struct {
		ID, State, Reason string
		Bytes             int64
		Ended, Late       bool
		TimedOutIn        string `json:"timed_out_in"`
		Steps             []struct{ State string }
	}
}

func newFleetOfOne(t *testing.T) *fleetOfOne {
	t.Helper()
	f := &fleetOfOne{t: t, dir: t.TempDir()}
	var err error
	if f.world, err = world.New(world.Config{Dir: filepath.Join(f.dir, "world"), Programs: programs(t), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		_ = f.world.Close(ctx) // agents end on their own in some tests
	})
	if err := f.world.StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.board, err = world.NewBoard(filepath.Join(f.dir, "board"), world.Firmware("1.0", 5, 0)); err != nil {
		t.Fatal(err)
	}
	if f.link, err = fault.Listen(f.world.Ports().Download); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.link.Run(running) }()
	t.Cleanup(func() { stop(); <-done })
	f.vehicle, err = f.world.AddDevice(t.Context(), world.VehicleConfig{Name: "anna"}, world.DeviceConfig{
		Name: "tcu-a", Buses: cars[0].buses, Board: f.board, Download: f.link.Addr(),
		Flags: []string{"--keep-alive=2s", "--will-delay=1s", "--session-expiry=10s", "--backoff-min=50ms", "--backoff-max=300ms", "--drain=3s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.vehicle.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.await("what runs", func(s *firmwareState) bool { return f.running(s, "1.0", "A") })
	return f
}

// running says whether the vehicle has told that a version runs for good.
func (f *fleetOfOne) running(s *firmwareState, version, slot string) bool {
	return len(s.Devices) == 1 && s.Devices[0].Version == version && s.Devices[0].Slot == slot && !s.Devices[0].Trial
}

func (f *fleetOfOne) status() (s firmwareState, err error) {
	return s, f.world.Ask(f.t.Context(), "/v1/vehicles/anna/update", &s)
}

// await restarts the machine when the agent asks for it, until the status is as wanted.
func (f *fleetOfOne) await(what string, ok func(*firmwareState) bool) firmwareState {
	f.t.Helper()
	var s firmwareState
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := f.world.Supervise(); err != nil {
			f.t.Fatal(err)
		}
		var err error
		if s, err = f.status(); err == nil && ok(&s) {
			return s
		}
	}
	f.t.Fatalf("%s did not happen: %+v", what, s)
	return s
}

// end waits for the end of the update.
func (f *fleetOfOne) end() firmwareState {
	f.t.Helper()
	return f.await("the end of the update", func(s *firmwareState) bool { return s.Update.Ended })
}

// sign makes an update file.
func (f *fleetOfOne) sign(board *world.Board, version string, release uint64, payload []byte) string {
	f.t.Helper()
	out := filepath.Join(f.dir, version+".update")
	if err := board.Sign(out, version, release, payload); err != nil {
		f.t.Fatal(err)
	}
	return out
}

// telltale runs a command and gives its output and exit code.
func (f *fleetOfOne) telltale(args ...string) (string, int) {
	f.t.Helper()
	cmd := exec.Command(filepath.Join(programs(f.t), "telltale"), args...)
	cmd.Env = append(os.Environ(), "TELLTALE_API=http://"+f.world.Ports().HTTP)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// begin starts an update without following it.
func (f *fleetOfOne) begin(args ...string) {
	f.t.Helper()
	if out, code := f.telltale(append([]string{"update", "--no-wait"}, args...)...); code != 0 {
		f.t.Fatalf("got exit code %d: %s", code, out)
	}
}

// TestUpdateTable: what the cloud says of each kind of update is what the vehicle does.
func TestUpdateTable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	f := newFleetOfOne(t)
	stranger, err := world.NewBoard(filepath.Join(f.dir, "stranger"), world.Firmware("1.0", 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	unhealthy := world.Firmware("2.1", 8, 1000, "--can=gone=virtual://127.0.0.1:1/gone")
	crashes := world.Firmware("2.2", 8, 1000, "--no-such-flag")
	good := world.Firmware("2.0", 7, 3<<20)
	for _, c := range []struct {
		name          string
		file          string
		flags         []string
		state, reason string
		version, slot string
	}{
		{"wrong key", f.sign(stranger, "1.5", 7, good), nil, "FAILED", "WRONG_KEY", "1.0", "A"},
		{"older", f.sign(f.board, "0.9", 4, world.Firmware("0.9", 4, 100)), nil, "FAILED", "OLDER_RELEASE", "1.0", "A"},
		{"unhealthy", f.sign(f.board, "2.1", 8, unhealthy), []string{"--health=2s"}, "ROLLED_BACK", "UNHEALTHY", "1.0", "A"},
		{"crashes", f.sign(f.board, "2.2", 8, crashes), nil, "ROLLED_BACK", "BOOT_FAILED", "1.0", "A"},
		{"no firmware in it", f.sign(f.board, "2.3", 8, make([]byte, 1000)), nil, "ROLLED_BACK", "BOOT_FAILED", "1.0", "A"},
		{"good", f.sign(f.board, "2.0", 7, good), nil, "CONFIRMED", "", "2.0", "B"},
		{"back with leave", f.sign(f.board, "0.9", 4, world.Firmware("0.9", 4, 100)), []string{"--allow-downgrade"}, "CONFIRMED", "", "0.9", "A"},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			f.begin(append(c.flags, "anna", c.file)...)
			got := f.end()
			if got.Update.State != c.state || got.Update.Reason != c.reason || !f.running(&got, c.version, c.slot) {
				t.Errorf("got %+v", got)
			}
			t.Logf("%s %s after %v, runs %s", got.Update.State, got.Update.Reason, time.Since(began).Round(time.Millisecond), got.Devices[0].Version)
			if out, code := f.telltale("update", "status", "anna"); code != 0 || !strings.Contains(out, "runs "+c.version) || !strings.Contains(out, c.state) {
				t.Errorf("got exit code %d: %s", code, out)
			}
		})
	}
	t.Run("damaged in the cloud", func(t *testing.T) { f.damaged(t) })
}

// damaged: the file goes bad on the cloud's disk after it was uploaded.
func (f *fleetOfOne) damaged(t *testing.T) {
	f.link.Set(fault.Cut)
	f.begin("anna", f.sign(f.board, "3.0", 9, world.Firmware("3.0", 9, 100_000)))
	kept, err := filepath.Glob(filepath.Join(f.dir, "world", "cloud", "updates", "*.update"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := file.Stat(); err != nil {
			t.Fatal(err)
		} else if _, err := file.WriteAt([]byte("x"), info.Size()-1); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	f.link.Set(fault.Up)
	if got := f.end(); got.Update.State != "FAILED" || got.Update.Reason != "CORRUPT" || !f.running(&got, "0.9", "A") {
		t.Errorf("got %+v", got)
	}
}

// TestUpdateTimesOut: what is not heard in time is said to be so, with the state; what
// the vehicle says afterwards is the truth.
func TestUpdateTimesOut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	f := newFleetOfOne(t)
	state := func(word string) func(*firmwareState) bool {
		return func(s *firmwareState) bool { return s.Update.State == word }
	}
	file := f.sign(f.board, "2.0", 7, world.Firmware("2.0", 7, 3<<20))

	f.vehicle.Kill() // parked, out of reach
	f.begin("--timeout=PENDING=1s", "anna", file)
	if got := f.await("the time-out", state("TIMED_OUT")); got.Update.TimedOutIn != "PENDING" || got.Update.Late {
		t.Errorf("got %+v", got)
	}
	if out, code := f.telltale("update", "status", "anna"); code != 0 || !strings.Contains(out, "nothing was heard in time in the state PENDING") {
		t.Errorf("got exit code %d: %s", code, out)
	}
	if err := f.vehicle.Launch(); err != nil {
		t.Fatal(err)
	}
	if got := f.await("the late word", state("CANCELED")); !got.Update.Late || !f.running(&got, "1.0", "A") {
		t.Errorf("got %+v", got)
	}

	f.link.Set(fault.HalfOpen) // the download stands still
	f.begin("--timeout=DOWNLOADING=1s", "anna", file)
	// The vehicle itself is in reach, and answers that it dropped the update.
	if got := f.await("the late word", state("CANCELED")); !got.Update.Late || got.Update.TimedOutIn != "DOWNLOADING" || !f.running(&got, "1.0", "A") {
		t.Errorf("got %+v", got)
	}
	f.link.Set(fault.Up)

	f.begin("--timeout=REBOOTING=1s", "anna", file)
	for f.vehicle.Running() { // the machine does not come back
		time.Sleep(5 * time.Millisecond)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if s, err := f.status(); err == nil && s.Update.State == "TIMED_OUT" && s.Update.TimedOutIn == "REBOOTING" {
			break
		} else if time.Now().After(end) {
			t.Fatalf("got %+v, %v", s, err)
		}
	}
	if got := f.await("the late word", state("CONFIRMED")); !got.Update.Late || got.Update.TimedOutIn != "REBOOTING" || !f.running(&got, "2.0", "B") {
		t.Errorf("got %+v", got)
	}
}

// TestUpdateFollowed: telltale update shows each state, and its exit code tells the end.
func TestUpdateFollowed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	f := newFleetOfOne(t)
	supervised := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-supervised:
				return
			case <-time.After(20 * time.Millisecond):
				if err := f.world.Supervise(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	out, code := f.telltale("update", "anna", f.sign(f.board, "2.0", 7, world.Firmware("2.0", 7, 1<<20)))
	if code != 0 || !strings.Contains(out, "CONFIRMED") || !strings.Contains(out, "2.0 (release 7) runs") {
		t.Errorf("got exit code %d: %s", code, out)
	}
	out, code = f.telltale("update", "--json", "anna", f.sign(f.board, "1.9", 6, world.Firmware("1.9", 6, 100)))
	if code != 1 || !strings.Contains(out, `"reason":"OLDER_RELEASE"`) || !strings.Contains(out, "the update is not confirmed") {
		t.Errorf("got exit code %d: %s", code, out)
	}
	if out, code = f.telltale("update", "cancel", "anna"); code != 1 || !strings.Contains(out, "no update is under way") {
		t.Errorf("got exit code %d: %s", code, out)
	}
	if out, code = f.telltale("update", "status", "nobody"); code != 1 || !strings.Contains(out, "no vehicle") {
		t.Errorf("got exit code %d: %s", code, out)
	}
	close(supervised)
	<-ended
}

// TestUpdateThroughFaults: agent killed, power and link cut, cloud killed, at
// random moments of an update: it ends confirmed, with the bytes that were signed.
func TestUpdateThroughFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	f := newFleetOfOne(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f.link.Shape(fault.Profile{Down: 1 << 20})
	payload := world.Firmware("2.0", 7, 6<<20)
	for i := 100; i < len(payload); i++ { // behind the text and its end
		payload[i] = byte(random.Uint32())
	}
	f.begin("anna", f.sign(f.board, "2.0", 7, payload))
	// Not on trial: a firmware whose agent is killed again and again rightly goes back.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && f.board.Booted() != "B"; {
		time.Sleep(time.Duration(random.IntN(900)) * time.Millisecond)
		f.harm(random.IntN(4))
	}
	f.link.Shape(fault.Profile{})
	got := f.end()
	if got.Update.State != "CONFIRMED" || !f.running(&got, "2.0", "B") {
		t.Errorf("got %+v", got)
	}
	t.Logf("%d starts of the agent, %d connections for the download", len(f.vehicle.Starts()), f.link.Connections())
	slot, err := os.Open(filepath.Join(f.dir, "board", "slot-b"))
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	written := make([]byte, len(payload))
	if _, err := io.ReadFull(slot, written); err != nil || !bytes.Equal(written, payload) {
		t.Errorf("slot B holds something else than was signed (%v)", err)
	}
	if f.link.Connections() < 2 {
		t.Error("the download was never interrupted")
	}
}

// harm does one thing that must not matter in the end.
func (f *fleetOfOne) harm(kind int) {
	f.t.Helper()
	err := f.world.Supervise() // the machine that was to be restarted is
	switch kind {
	case 0: // the agent alone
		f.vehicle.Kill()
		err = errors.Join(err, f.vehicle.Launch())
	case 1: // the power; not so soon that the boot loader gives the slot up
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if settled, err := f.board.Settled(); err != nil || settled || !f.vehicle.Running() {
				break
			}
		}
		f.vehicle.Kill()
		err = errors.Join(err, f.vehicle.PowerOn())
	case 2:
		f.link.Set(fault.Cut)
		time.Sleep(100 * time.Millisecond)
		f.link.Set(fault.Up)
	case 3:
		f.world.KillCloud()
		time.Sleep(200 * time.Millisecond)
		err = errors.Join(err, f.world.StartCloud(f.t.Context()))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestConfirmedSlot: starts that are cut off do not bring the former firmware back, and a confirmed
// firmware that cannot be read is said to have been rolled back, as long as it cannot.
func TestConfirmedSlot(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	f := newFleetOfOne(t)
	text := world.Firmware("2.0", 7, 1000)
	f.begin("anna", f.sign(f.board, "2.0", 7, text))
	if got := f.end(); got.Update.State != "CONFIRMED" || !f.running(&got, "2.0", "B") {
		t.Fatalf("got %+v", got)
	}
	slot := filepath.Join(f.dir, "board", "slot-b")
	restart := func(cuts int) {
		t.Helper()
		f.vehicle.Kill()
		for range cuts {
			if _, err := f.board.Start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.vehicle.PowerOn(); err != nil {
			t.Fatal(err)
		}
	}
	damage := func(text []byte) {
		t.Helper()
		file, err := os.OpenFile(slot, os.O_WRONLY, 0)
		if err == nil {
			_, err = file.WriteAt(text, 0)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		content       []byte
		cuts          int
		state, reason string
		version, slot string
		says          string
	}{
		{text, 4, "CONFIRMED", "", "2.0", "B", "runs 2.0 (release 7) from slot B;"},
		{make([]byte, 1000), 0, "ROLLED_BACK", "BOOT_FAILED", "1.0", "A", "from slot A, BOOT_FAILED: slot B is confirmed and could not be started;"},
		{make([]byte, 1000), 4, "ROLLED_BACK", "BOOT_FAILED", "1.0", "A", "from slot A, BOOT_FAILED: slot B is confirmed and could not be started;"},
		{text, 0, "CONFIRMED", "", "2.0", "B", "runs 2.0 (release 7) from slot B;"},
	} {
		damage(c.content)
		restart(c.cuts)
		got := f.await(c.state, func(s *firmwareState) bool { return s.Update.State == c.state && f.running(s, c.version, c.slot) })
		if got.Update.Reason != c.reason {
			t.Errorf("got %+v, want %s %s", got, c.state, c.reason)
		}
		if out, code := f.telltale("update", "status", "anna"); code != 0 || !strings.Contains(out, c.says) || !strings.Contains(out, c.state) {
			t.Errorf("got exit code %d: %s, want %q in it", code, out, c.says)
		}
	}
}
