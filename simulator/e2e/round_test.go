package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/fault"
	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/world"
)

// power cuts the power of parts of the world below the page cache; see powercut_linux_test.go.
type power interface {
	// Cut freezes and ends what runs on the disks and takes from them what is
	// not on the medium. Afterwards they are mounted again.
	Cut(w *world.World, v *world.Device, agent, cloud bool) error
}

// round plays one plan in one folder.
type round struct {
	plan
	dir      string
	programs string
	power    power // nil: none
	// built is called when the world stands and nothing was driven yet; may be nil.
	built func() error
	flags []string                                           // further ones of the agent
	tap   func(bus string, first uint64, frames []can.Frame) // sees all frames; may be nil

	log     *drive.Log
	world   *world.World
	vehicle *world.Device
	truth   *drive.Truth
	began   time.Time // of the drive
	events  []string
	// evidence is there when play returns a ledger.
	evidence ledger.Evidence
}

const (
	handover = 40 * time.Second // longest wait for everything to be handed over
	inWrite  = 400 * time.Millisecond
)

// compileBuses makes the plan that the player's truth decodes with.
func compileBuses(buses []world.Bus) (*dbc.Plan, error) {
	var sources []dbc.Source
	for _, b := range buses {
		source := dbc.Source{Bus: b.Name, J1939: b.J1939}
		for _, name := range b.DBC {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			file, _, err := dbc.Parse(name, text)
			if err != nil {
				return nil, err
			}
			source.Files = append(source.Files, file)
		}
		sources = append(sources, source)
	}
	compiled, _, err := dbc.Compile(sources)
	return compiled, err
}

// play drives, makes the trouble of the plan, and adds up. The error of a
// ledger that does not add up comes together with the ledger.
func (r *round) play(ctx context.Context) (l *ledger.Ledger, err error) {
	if r.world, err = world.New(world.Config{Dir: r.dir, Programs: r.programs, Flush: r.flush, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.build(ctx); err != nil {
		return nil, fmt.Errorf("before the drive: %w", err)
	}
	d := ledger.Drive{Truth: r.truth, Everything: r.setup.everything}
	if d.Before, err = r.vehicle.AccountBefore(ctx); err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	if err := r.drive(ctx); err != nil {
		return nil, err
	}
	d.Took = time.Since(r.began)
	r.note("everything is up again; what waits is handed over")
	if r.evidence, err = ledger.Gather(ctx, r.world, r.vehicle, d, handover); err != nil {
		return nil, err
	}
	r.note("the end")
	if l, err = ledger.Compute(r.evidence); err != nil {
		return nil, err
	}
	return l, l.Check()
}

// build starts the cloud and makes the vehicle.
func (r *round) build(ctx context.Context) error {
	if err := r.world.StartCloud(ctx); err != nil {
		return err
	}
	compiled, err := compileBuses(r.car.buses)
	if err != nil {
		return err
	}
	if r.log, err = drive.Scan(ctx, filepath.Join(recordings, r.car.log)); err != nil {
		return err
	}
	r.truth = drive.NewTruth(compiled)
	flags := append([]string{ // quick to notice and to come back: a round lasts seconds
		"--keep-alive=1s", "--will-delay=1s", "--session-expiry=10s", "--backoff-min=50ms", "--backoff-max=500ms", "--drain=5s",
	}, r.flags...)
	for i, doc := range r.setup.campaigns {
		name := filepath.Join(r.dir, fmt.Sprintf("campaign-%d.yaml", i))
		if err := os.WriteFile(name, []byte(doc), 0o600); err != nil {
			return err
		}
		flags = append(flags, "--campaign="+name)
	}
	r.vehicle, err = r.world.AddDevice(ctx, world.VehicleConfig{Name: "anna", Tap: r.see}, world.DeviceConfig{
		Name: "tcu-a", Buses: r.car.buses, Flags: flags,
	})
	if err != nil || r.built == nil {
		return err
	}
	return r.built()
}

// see is shown every frame that is sent.
func (r *round) see(bus string, first uint64, frames []can.Frame) {
	r.truth.Add(bus, first, frames)
	if r.tap != nil {
		r.tap(bus, first, frames)
	}
}

// start powers the agent on.
func (r *round) start(ctx context.Context) error {
	if !r.restart {
		return r.vehicle.Start(ctx)
	}
	if err := r.vehicle.Launch(); err != nil {
		return err
	}
	if err := r.until(ctx, time.Now().Add(r.earlyKill)); err != nil {
		return err
	}
	if r.power == nil {
		r.vehicle.Kill()
	} else if err := r.power.Cut(r.world, r.vehicle, true, false); err != nil {
		return err
	}
	return r.vehicle.Launch()
}

// drive plays the log and the steps.
func (r *round) drive(ctx context.Context) error {
	player, err := drive.NewPlayer(drive.PlayerConfig{Log: r.log, Hub: r.vehicle.Hub, Speed: r.speed, Start: r.plan.start})
	if err != nil {
		return err
	}
	driven := make(chan error, 1)
	r.began = time.Now()
	go func() { driven <- player.Run(ctx) }()
	stop := time.AfterFunc(r.length, player.Stop)
	defer stop.Stop()
	err = r.trouble(ctx)
	player.Stop()
	if err = errors.Join(err, <-driven); err != nil {
		return err
	}
	r.vehicle.Link.Shape(fault.Profile{})
	r.vehicle.Link.Set(fault.Up)
	if !r.vehicle.Running() {
		err = r.vehicle.Launch()
	}
	if err == nil && !r.world.CloudRunning() {
		err = r.world.LaunchCloud()
	}
	if err != nil {
		return err
	}
	return errors.Join(r.world.AwaitCloud(ctx), r.vehicle.Await(ctx))
}

// trouble does the steps at their moments, and waits for the end of the drive.
func (r *round) trouble(ctx context.Context) error {
	for _, s := range r.steps {
		if err := r.until(ctx, r.began.Add(s.at)); err != nil {
			return err
		}
		r.note(s.do)
		if err := r.do(ctx, s.do); err != nil {
			return fmt.Errorf("%s: %w", s.do, err)
		}
	}
	return r.until(ctx, r.began.Add(r.length))
}

// until waits, and notices when a process ends that nobody killed.
func (r *round) until(ctx context.Context, moment time.Time) error {
	for {
		if err := r.world.Failure(); err != nil {
			return err
		}
		left := time.Until(moment)
		if left <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(left, 20*time.Millisecond)):
		}
	}
}

// do does one step. Ending what does not run and starting what runs are of no effect.
func (r *round) do(ctx context.Context, what string) error {
	w, v := r.world, r.vehicle
	soon, cancel := context.WithTimeout(ctx, inWrite)
	defer cancel()
	switch what {
	case killAgent:
		v.Kill()
	case killInWrite:
		v.KillAtNextWrite(soon)
	case launchAgent:
		if !v.Running() {
			return v.Launch()
		}
	case killCloud:
		w.KillCloud()
	case killInCommit:
		awaitFile(soon, w.Lake())
		w.KillCloud()
	case launchCloud:
		if !w.CloudRunning() {
			return w.LaunchCloud()
		}
	case cutLink:
		v.Link.Set(fault.Cut)
	case halfOpenLink:
		v.Link.Set(fault.HalfOpen)
	case slowLink:
		v.Link.Shape(fault.Profile{Delay: 60 * time.Millisecond, Up: 100 << 10, Down: 50 << 10})
	case linkUp:
		v.Link.Shape(fault.Profile{})
		v.Link.Set(fault.Up)
	case pushCampaign:
		r.push(ctx)
	case cutAgentPower, cutCloudPower, cutAllPower:
		return r.power.Cut(w, v, what != cutCloudPower, what != cutAgentPower)
	default:
		return errors.New("nobody knows how")
	}
	return nil
}

// push publishes a campaign as fleet operations. That it fails while the cloud is away is no failure of the round.
func (r *round) push(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	doc := []byte(pushed)
	parsed, err := campaigns.Parse(doc)
	if err == nil {
		var ops *world.Operations
		if ops, err = r.world.Operations(ctx); err == nil {
			err = errors.Join(ops.Push(ctx, parsed.Metadata.ID, doc), ops.Close(ctx))
		}
	}
	if err != nil {
		r.note("the push failed: " + err.Error())
	}
}

// awaitFile waits until a file appears or changes below dir, or ctx ends.
func awaitFile(ctx context.Context, dir string) {
	for before := state(dir); ctx.Err() == nil && state(dir) == before; {
		time.Sleep(200 * time.Microsecond)
	}
}

// state tells one content of a folder from another, by names, sizes and times.
func state(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went while we looked
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}

// note keeps the timeline for a failure's report.
func (r *round) note(text string) {
	at := time.Duration(0)
	if !r.began.IsZero() {
		at = time.Since(r.began)
	}
	r.events = append(r.events, fmt.Sprintf("  %6.3fs  %s", at.Seconds(), text))
}

func (r *round) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), handover)
	defer cancel()
	if r.vehicle == nil {
		return r.world.StopCloud(ctx)
	}
	return r.world.Close(ctx)
}

// report says all that is known of a round that failed.
func (r *round) report(t *testing.T, l *ledger.Ledger, err error) {
	t.Helper()
	var table strings.Builder
	if l != nil {
		l.Table(&table)
	}
	t.Errorf("%s\n%v\n%s\n%s\nthe folder is kept: %s", r.plan.String(), err, strings.Join(r.events, "\n"), table.String(), r.dir)
}
