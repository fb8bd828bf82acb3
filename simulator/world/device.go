package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol/report"
	"telltale.dev/simulator/fault"
)

// DeviceConfig says what a device of a vehicle is made of.
type DeviceConfig struct {
	Name  string // identifies it among the devices of its vehicle
	Buses []Bus  // those that it reads
	// Campaign is the file of what is collected until the cloud says otherwise; empty: the Starter, unless Bare or Flags name one.
	Campaign string
	Bare     bool          // without Campaign: nothing is collected until the cloud says so
	Commit   time.Duration // what a power cut may cost, in source time; zero: the agent's default
	// Board has the firmware slots of the device; nil: it has none. It is started with the agent.
	Board *Board
	// Download is where the agent fetches update files, when that is not the cloud itself.
	Download string
	Flags    []string // further arguments of the agent; of a flag given twice the last one counts
}

// Device is one telematics unit in its Vehicle: its agent, and its link to the cloud.
type Device struct {
	*Vehicle
	Link *fault.Link

	cfg   DeviceConfig
	label string // of its folder and its log
	dir   string
	creds Credentials
	agent *process

	mu     sync.Mutex // guards all below
	starts []Start
	status Status
}

// Start is one start of the agent.
type Start struct {
	PID  int
	Boot string // empty until the agent has told it
	// Committed is the most samples that the agent said it has on disk.
	Committed uint64
	Buses     map[string]report.Bus // as it reported last
	from      map[string]uint64     // frames on each interface when it was started
	narrowed  map[string]bool       // buses of which something was kept away, at some time
}

// Status is what an agent reports of itself; see telltale-agent run --report.
type Status struct {
	report.Status
	Buses []report.Bus `json:"buses"`
}

// Label names the folder and the log of a device's agent. It is not always its own: that of
// the only device of vehicle a-b is that of device b of a vehicle a with several devices.
func Label(vehicle, device string, only bool) string {
	if only {
		return "agent-" + vehicle
	}
	return "agent-" + vehicle + "-" + device
}

// addDevice gives the vehicle a device.
func (v *Vehicle) addDevice(ctx, running context.Context, cfg DeviceConfig, only bool) (err error) {
	d := &Device{Vehicle: v, cfg: cfg, label: Label(v.Name, cfg.Name, only)}
	d.dir = filepath.Join(v.world.cfg.Dir, d.label)
	if only && len(v.world.vehicles) == 0 {
		d.dir = filepath.Join(v.world.cfg.Dir, "agent")
	}
	named := func(flag string) bool { return strings.HasPrefix(flag, "--campaign") }
	if cfg.Campaign == "" && !cfg.Bare && !slices.ContainsFunc(cfg.Flags, named) {
		d.cfg.Campaign = filepath.Join(d.dir, "starter.yaml")
		if err = d.writeStarter(); err != nil {
			return err
		}
	}
	if d.creds, err = v.world.Identity(ctx, v.Name, cfg.Name, filepath.Join(d.dir, "identity")); err != nil {
		return err
	}
	if d.Link, err = fault.Listen(v.world.Ports().MQTT); err != nil {
		return err
	}
	v.running.Go(func() { v.logged("link", d.Link.Run(running)) })
	v.Devices = append(v.Devices, d)
	return nil
}

// reportEvery is how often agents tell their status.
const reportEvery = 200 * time.Millisecond

// Arguments are the command line of the agent, without the program's name.
func (d *Device) Arguments() []string {
	args := []string{
		"run", "--data", d.dir, "--endpoint", d.Link.Addr(), "--download", d.download(),
		"--cert", d.creds.Cert, "--key", d.creds.Key, "--ca", d.creds.CA,
		// A demonstration must not wait for minutes until a dead link is noticed.
		"--keep-alive", "4s", "--will-delay", "2s", "--session-expiry", "60s",
		"--backoff-min", "200ms", "--backoff-max", "2s", "--drain", "20s",
	}
	for _, b := range d.cfg.Buses {
		args = append(args, "--can", b.Name+"="+d.URL(b.Name))
		for _, file := range b.DBC {
			args = append(args, "--dbc", b.Name+"="+file)
		}
		if b.J1939 {
			args = append(args, "--j1939", b.Name)
		}
	}
	if d.cfg.Campaign != "" {
		args = append(args, "--campaign", d.cfg.Campaign)
	}
	if d.cfg.Commit > 0 {
		args = append(args, "--commit", d.cfg.Commit.String(), "--commit-urgent", min(d.cfg.Commit, time.Second).String())
	}
	return append(args, d.cfg.Flags...)
}

// supervise does what the first process of a device does when the agent has ended on
// its own: it restarts the machine, and the boot loader chooses the slot.
func (d *Device) supervise() error {
	d.mu.Lock()
	p := d.agent
	d.mu.Unlock()
	if d.cfg.Board == nil || p == nil || p.failure() == nil {
		return nil
	}
	return d.PowerOn()
}

// PowerOn starts the board, and the agent of the firmware that runs then. It does not wait.
func (d *Device) PowerOn() error {
	if _, err := d.cfg.Board.Start(); err != nil {
		return err
	}
	return d.Launch()
}

// download is where the agent fetches update files.
func (d *Device) download() string {
	if d.cfg.Download != "" {
		return d.cfg.Download
	}
	return d.world.Ports().Download
}

// Start powers the agent on and waits until it reads all buses.
func (d *Device) Start(ctx context.Context) error {
	if err := d.Launch(); err != nil {
		return err
	}
	return d.Await(ctx)
}

// Launch powers the agent on and does not wait.
func (d *Device) Launch() error {
	args := append(d.Arguments(), "--report", reportEvery.String())
	if b := d.cfg.Board; b != nil {
		if b.Booted() == "" {
			if _, err := b.Start(); err != nil {
				return err
			}
		}
		more, err := b.arguments()
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	before := map[string]uint64{}
	for _, k := range d.kernel {
		before[k.name], _, _ = k.state()
	}
	d.mu.Lock() // its first report must not come before the start is in the list
	defer d.mu.Unlock()
	p, err := startProcess("telltale-agent", d.world.agent, d.world.logFile(d.label), d.report, args...)
	if err != nil {
		return err
	}
	d.agent = p
	d.starts = append(d.starts, Start{PID: p.cmd.Process.Pid, from: before})
	d.status = Status{}
	return nil
}

// Await waits until a launched agent reads all buses.
func (d *Device) Await(ctx context.Context) error {
	p := d.agent
	for end := time.Now().Add(startWait); ; time.Sleep(5 * time.Millisecond) {
		switch {
		case d.Status().Attached == len(d.cfg.Buses):
			return nil
		case !p.running():
			return p.failure()
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("telltale-agent did not read its buses within %v: %s", startWait, p.tail.last())
		}
	}
}

// report takes a status line of the agent.
func (d *Device) report(line []byte) {
	var s Status
	if json.Unmarshal(line, &s) != nil || s.Boot == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = s
	start := &d.starts[len(d.starts)-1]
	start.Boot, start.Committed = s.Boot, max(start.Committed, s.Samples)
	start.Buses = make(map[string]report.Bus, len(s.Buses)) // a copy of Starts may be in use
	narrowed := start.narrowed
	start.narrowed = map[string]bool{}
	for _, b := range s.Buses {
		start.Buses[b.Name] = b
		start.narrowed[b.Name] = narrowed[b.Name] || b.Filters != report.Everything
	}
}

// Status is the agent's last report. It may be called from any goroutine.
func (d *Device) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Starts lists every start of the agent so far.
func (d *Device) Starts() []Start {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Start(nil), d.starts...)
}

// Running says whether the agent is powered. It may be called from any goroutine.
func (d *Device) Running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.agent != nil && d.agent.running()
}

func (d *Device) failure() error {
	d.mu.Lock()
	p := d.agent
	d.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.failure()
}

// Freeze stops the agent where it is, as a power cut does: it will never run
// again, and sees nothing of what happens to its disk before Kill.
func (d *Device) Freeze() { d.agent.freeze() }

// Kill cuts the power: SIGKILL.
func (d *Device) Kill() { d.agent.kill() }

// KillAtNextWrite cuts the power as soon as the agent is seen to write to its
// buffer, so that it is in the middle of a commit; at the latest when ctx ends.
// It says whether a write was seen.
func (d *Device) KillAtNextWrite(ctx context.Context) bool {
	folder := filepath.Join(d.dir, "buffer")
	before, seen := newest(folder), false
	for !seen && ctx.Err() == nil && d.agent.running() {
		time.Sleep(200 * time.Microsecond)
		seen = newest(folder) != before
	}
	d.agent.kill()
	return seen
}

// newest gives the time of the last write to a file of the folder.
func newest(folder string) (last time.Time) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// Stop ends the agent in order: it seals, sends what it can and says goodbye.
func (d *Device) Stop(ctx context.Context) error {
	if d.agent == nil {
		return nil
	}
	return d.agent.stop(ctx)
}

// Account asks the agent's program for the account of its folder. The agent must not run.
func (d *Device) Account(ctx context.Context) (report.Account, error) {
	var a report.Account
	out, err := exec.CommandContext(ctx, d.world.agent, "ledger", "--data", d.dir).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		return a, fmt.Errorf("telltale-agent ledger: %w", err)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return a, fmt.Errorf("telltale-agent ledger: %w", err)
	}
	return a, nil
}

// AccountBefore is Account for a folder that may not be there yet.
func (d *Device) AccountBefore(ctx context.Context) (report.Account, error) {
	if _, err := os.Stat(filepath.Join(d.dir, "buffer")); errors.Is(err, fs.ErrNotExist) {
		return report.Account{}, nil
	}
	return d.Account(ctx)
}

// ID is the identifier of the device in its vehicle.
func (d *Device) ID() string { return d.cfg.Name }

// Title names the device to people: by its vehicle when it is the only one there, else VEHICLE/DEVICE.
func (d *Device) Title() string {
	if len(d.Vehicle.Devices) == 1 {
		return d.Vehicle.Name
	}
	return d.Vehicle.Name + "/" + d.cfg.Name
}

// Buses gives the buses that the device reads, in order.
func (d *Device) Buses() []Bus { return d.cfg.Buses }
