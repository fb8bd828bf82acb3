package e2e_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/fault"
	"telltale.dev/simulator/world"
)

// parked is a vehicle whose ignition and link are files.
type parked struct {
	t              *testing.T
	world          *world.World
	vehicle        *world.Device
	truth          *drive.Truth
	log            *drive.Log
	ignition, link string
}

// park builds a world with one vehicle, not powered yet, ignition on, on Ethernet.
func park(t *testing.T, flags ...string) *parked {
	t.Helper()
	p := &parked{t: t, ignition: filepath.Join(t.TempDir(), "ignition"), link: filepath.Join(t.TempDir(), "link")}
	p.write(p.ignition, "on")
	p.write(p.link, "type=ethernet")
	var err error
	if p.world, err = world.New(world.Config{Dir: t.TempDir(), Programs: programs(t), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		_ = p.world.Close(ctx) // the agent has ended on its own in some tests
	})
	if err := p.world.StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	car := cars[0]
	if p.log, err = drive.Scan(t.Context(), filepath.Join(recordings, car.log)); err != nil {
		t.Fatal(err)
	}
	compiled, err := compileBuses(car.buses)
	if err != nil {
		t.Fatal(err)
	}
	p.truth = drive.NewTruth(compiled)
	flags = append([]string{
		"--keep-alive=2s", "--will-delay=1s", "--session-expiry=10s", "--backoff-min=50ms", "--backoff-max=200ms",
		"--power-ignition=file:" + p.ignition, "--network=file:" + p.link,
	}, flags...)
	p.vehicle, err = p.world.AddDevice(t.Context(), world.VehicleConfig{Name: "anna", Tap: p.truth.Add}, world.DeviceConfig{
		Name: "tcu-a", Buses: car.buses, Flags: flags,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.vehicle.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// write changes one of the files, as a careful script does.
func (p *parked) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(name+".new", []byte(text+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		p.t.Fatal(err)
	}
}

// await waits until the agent's status is as expected.
func (p *parked) await(what string, within time.Duration, ok func(world.Status) bool) {
	p.t.Helper()
	for end := time.Now().Add(within); !ok(p.vehicle.Status()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within %v: %s; status %+v", within, what, p.vehicle.Status())
		}
	}
}

// drive plays the log for a while and waits until the agent has read all of it.
func (p *parked) drive(d time.Duration) {
	p.t.Helper()
	player, err := drive.NewPlayer(drive.PlayerConfig{Log: p.log, Hub: p.vehicle.Hub, Speed: 1, Start: time.Now()})
	if err != nil {
		p.t.Fatal(err)
	}
	stop := time.AfterFunc(d, player.Stop)
	defer stop.Stop()
	if err := player.Run(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if err := p.vehicle.Hub.Drain(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.await("all frames read", 5*time.Second, func(s world.Status) bool { return s.Received == p.truth.All().Frames })
}

// device is what the cloud says of the vehicle's device.
type device struct {
	Presence string
	Wakes    *time.Time
}

// presence waits until the cloud says so.
func (p *parked) presence(want string, within time.Duration) device {
	p.t.Helper()
	var devices []device
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		err := p.world.Ask(p.t.Context(), "/v1/vehicles/anna/presence", &devices)
		if err == nil && len(devices) == 1 && devices[0].Presence == want {
			return devices[0]
		}
		if time.Now().After(end) {
			p.t.Fatalf("presence is not %s within %v: %+v, %v", want, within, devices, err)
		}
	}
}

// TestIgnitionOffFlushes: one second after the ignition is off a power cut costs
// nothing, though the agent's own commit interval is long.
func TestIgnitionOffFlushes(t *testing.T) {
	t.Parallel()
	p := park(t, "--commit=1h", "--commit-urgent=1h", "--power-window=1m")
	p.vehicle.Link.Set(fault.Cut) // so that all must be on this disk
	p.drive(2 * time.Second)
	if s := p.vehicle.Status(); s.Samples != 0 {
		t.Fatalf("%d samples are on disk before the ignition is off; the test shows nothing", s.Samples)
	}
	p.write(p.ignition, "off")
	off := time.Now()
	time.Sleep(time.Second)
	p.vehicle.Kill()
	t.Logf("power cut %v after ignition off", time.Since(off))
	account, err := p.vehicle.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := p.truth.All()
	boot := account.Boots[len(account.Boots)-1]
	if account.WaitingSamples != want.Samples || boot.Received != want.Frames || boot.Samples != want.Samples {
		t.Errorf("on disk: %d samples of %d frames, want %d of %d", account.WaitingSamples, boot.Received, want.Samples, want.Frames)
	}
}

// TestIgnition is the way through the night: upload, asleep with the time of waking,
// frames that come while asleep, and the morning.
func TestIgnition(t *testing.T) {
	t.Parallel()
	p := park(t, "--power-window=1m", "--power-wake-after=1h")
	p.presence("online", 10*time.Second)
	p.drive(2 * time.Second)
	p.write(p.ignition, "off")
	off := time.Now()
	d := p.presence("asleep", 20*time.Second)
	t.Logf("asleep %v after ignition off", time.Since(off).Round(10*time.Millisecond))
	if d.Wakes == nil || d.Wakes.Sub(off.Add(time.Hour)).Abs() > 30*time.Second {
		t.Errorf("wakes: got %v, want in an hour", d.Wakes)
	}
	p.await("all uploaded, asleep", 5*time.Second, func(s world.Status) bool { return s.Asleep && s.Waiting == 0 && !s.Connected })

	p.drive(time.Second) // somebody works at the car
	p.await("frames of the night on disk", 15*time.Second, func(s world.Status) bool { return s.Waiting > 0 })
	if s := p.vehicle.Status(); s.Connected {
		t.Error("connected though asleep")
	}
	p.write(p.ignition, "on")
	p.presence("online", 10*time.Second)
	p.await("delivered", 20*time.Second, func(s world.Status) bool { return s.Waiting == 0 && s.Samples == p.truth.All().Samples })

	p.write(p.ignition, "off shutdown 3s")
	notice := time.Now()
	p.presence("offline", 3*time.Second)
	t.Logf("offline %v after a notice of 3 s", time.Since(notice).Round(10*time.Millisecond))
	p.write(p.ignition, "on") // and power stays
	p.presence("online", 10*time.Second)
}

// TestIgnitionStops: the program ends with the exit code that asks for power off.
func TestIgnitionStops(t *testing.T) {
	t.Parallel()
	p := park(t, "--power-window=0s", "--power-after=stop")
	p.presence("online", 10*time.Second)
	p.write(p.ignition, "off")
	for end := time.Now().Add(time.Minute); p.vehicle.Running(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it runs on")
		}
	}
	if err := p.world.Failure(); err == nil || !strings.Contains(err.Error(), "exit status 76") {
		t.Errorf("got %v, want exit status 76", err)
	}
	if d := p.presence("asleep", 5*time.Second); d.Wakes != nil {
		t.Errorf("wakes at %v, want no time", d.Wakes)
	}
}

// TestMeteredLink: on a link that costs money bulk waits on disk, and nothing is lost by that.
func TestMeteredLink(t *testing.T) {
	t.Parallel()
	p := park(t, "--upload-metered=urgent", "--commit=200ms")
	p.presence("online", 10*time.Second)
	p.write(p.link, "type=cellular metered=yes")
	p.await("held", 10*time.Second, func(s world.Status) bool { return s.Upload == "urgent" })
	before := p.vehicle.Status().Acked
	p.drive(2 * time.Second)
	p.write(p.ignition, "off") // seals everything
	p.await("on disk", 5*time.Second, func(s world.Status) bool { return s.Samples == p.truth.All().Samples && s.Waiting > 0 })
	p.write(p.ignition, "on")
	time.Sleep(time.Second)
	if s := p.vehicle.Status(); s.Acked != before || s.Waiting == 0 {
		t.Errorf("%d records went over the metered link, %d wait", s.Acked-before, s.Waiting)
	}
	p.write(p.link, "type=wifi")
	p.await("uploaded over wifi", 15*time.Second, func(s world.Status) bool { return s.Upload == "all" && s.Waiting == 0 && s.Acked > before })
}
