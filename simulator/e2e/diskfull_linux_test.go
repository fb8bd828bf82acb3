package e2e_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/fault"
	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/world"
)

// quickBatches makes a batch each second, so that few seconds fill a small disk.
const quickBatches = `apiVersion: campaigns.v1
kind: Campaign
metadata: {id: fast, revision: 1}
spec:
  signals: {all: {path: can*.*.*}}
  collect:
    - {id: all, signals: [all]}
  priority: CS1
  encoding: {batch: {age: 1s, bytes: 64KiB}}
`

// parkOnSmallDisk starts a vehicle whose agent has a disk of 640 KiB and a far larger bound. Mounting needs root; CI has it.
func parkOnSmallDisk(t *testing.T) (p *parked, disk string) {
	t.Helper()
	dir := t.TempDir()
	p = &parked{t: t}
	var err error
	p.world, err = world.New(world.Config{Dir: dir, Programs: programs(t), Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	disk = filepath.Join(dir, "agent")
	must(t, os.MkdirAll(disk, 0o700))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=640k"); err != nil {
		skip := t.Skipf
		if os.Getenv("CI") == "true" {
			skip = t.Fatalf
		}
		skip("a small disk needs root, to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	t.Cleanup(func() { _ = p.world.Close(context.WithoutCancel(t.Context())) })
	must(t, p.world.StartCloud(t.Context()))
	p.log, err = drive.Scan(t.Context(), filepath.Join(recordings, cars[0].log))
	must(t, err)
	compiled, err := compileBuses(cars[0].buses)
	must(t, err)
	p.truth = drive.NewTruth(compiled)
	campaign := filepath.Join(dir, "fast.yaml")
	p.write(campaign, quickBatches)
	p.vehicle, err = p.world.AddDevice(t.Context(), world.VehicleConfig{Name: "anna", Tap: p.truth.Add}, world.DeviceConfig{
		Name: "tcu-a", Buses: cars[0].buses,
		Flags: []string{"--backoff-min=50ms", "--backoff-max=200ms", "--buffer=64MiB", "--commit=200ms", "--drain=5s", "--campaign=" + campaign},
	})
	must(t, err)
	return p, disk
}

// TestAgentDiskFull fills the agent's disk while the link is down: it goes on collecting, hands all over when
// the link is back, goes on, also after a restart while somebody else has filled the disk, and the ledger adds up.
func TestAgentDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes for some seconds")
	}
	t.Parallel()
	p, disk := parkOnSmallDisk(t)
	d := ledger.Drive{Truth: p.truth, Everything: true}
	var err error
	d.Before, err = p.vehicle.AccountBefore(t.Context())
	must(t, err)
	attached := func(s world.Status) bool { return s.Attached == len(cars[0].buses) }
	delivered := func(s world.Status) bool { return s.Waiting == 0 && s.Connected }
	must(t, p.vehicle.Start(t.Context()))
	p.await("attached", 10*time.Second, attached)

	p.vehicle.Link.Set(fault.Cut)
	for range 2 {
		p.driveAt(8)
	}
	p.vehicle.Link.Set(fault.Up)
	p.await("all handed over", 20*time.Second, delivered)
	fillDisk(t, filepath.Join(disk, "filler"))
	p.driveAt(20)
	p.await("handed over on a full disk", 20*time.Second, delivered)
	must(t, p.vehicle.Stop(t.Context()))
	must(t, p.vehicle.Start(t.Context()))
	p.await("attached again", 10*time.Second, attached)
	p.driveAt(20)
	p.await("handed over after a restart", 20*time.Second, delivered)

	evidence, err := ledger.Gather(t.Context(), p.world, p.vehicle, d, handover)
	must(t, err)
	l, err := ledger.Compute(evidence)
	must(t, err)
	if err := l.Check(); err != nil {
		t.Errorf("%v\n%+v", err, l)
	}
	if l.SamplesEvicted == 0 || l.SamplesStored == 0 || l.FramesDropped != 0 {
		t.Errorf("got %+v, want samples evicted and stored, and no frame dropped", l)
	}
}

// mostDriving bounds one drive, which takes some seconds; an agent that stands still reads no frames, for ever.
const mostDriving = 30 * time.Second

// driveAt plays the whole log and waits until the agent has read all of it.
func (p *parked) driveAt(speed float64) {
	p.t.Helper()
	player, err := drive.NewPlayer(drive.PlayerConfig{Log: p.log, Hub: p.vehicle.Hub, Speed: speed, Start: time.Now()})
	must(p.t, err)
	ctx, cancel := context.WithTimeout(p.t.Context(), mostDriving)
	defer cancel()
	if err := player.Run(ctx); err != nil {
		p.t.Fatalf("the log was not played within %v: %v", mostDriving, err)
	}
	if err := p.vehicle.Hub.Drain(ctx); err != nil {
		p.t.Fatalf("the agent has not read all frames within %v, so it stands still: %v", mostDriving, err)
	}
}

// fillDisk takes all the room that is left.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	page := bytes.Repeat([]byte{1}, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	must(t, f.Close())
}
