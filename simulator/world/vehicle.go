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

	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/report"
	"telltale.dev/simulator/fault"
)

// VehicleConfig says what a vehicle is made of.
type VehicleConfig struct {
	Vehicle, Device string
	Buses           []Bus
	// Campaign is the file of what is collected until the cloud says otherwise; empty: the Starter, unless Bare or Flags name one.
	Campaign string
	Bare     bool // without Campaign: nothing is collected until the cloud says so
	// Interfaces are the buses that are CAN interfaces of the kernel, by name; the others are virtual.
	Interfaces map[string]string
	// Hub is where the virtual buses listen: the path of a unix socket, or IP:port on loopback,
	// which every user of the machine reaches. Empty: a unix socket that only we reach.
	Hub string
	// Tap is given every frame on the buses; see virtual.Config.
	Tap    func(bus string, first uint64, frames []can.Frame)
	Commit time.Duration // what a power cut may cost, in source time; zero: the agent's default
	// Board has the firmware slots of the device; nil: it has none. It is started with the agent.
	Board *Board
	// Download is where the agent fetches update files, when that is not the cloud itself.
	Download string
	Flags    []string // further arguments of the agent; of a flag given twice the last one counts
}

// Bus is one bus and its DBC files.
type Bus struct {
	Name  string
	DBC   []string
	J1939 bool
}

// Vehicle is one car: its buses, its link and its agent.
type Vehicle struct {
	Name string
	Hub  *virtual.Hub // of the virtual buses
	Link *fault.Link

	kernel  []*kernelBus // the other ones
	world   *World
	cfg     VehicleConfig
	dir     string
	creds   Credentials
	agent   *process
	ended   context.CancelFunc
	forget  func() error   // removes what the hub leaves behind
	running sync.WaitGroup // hub and link

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

// AddVehicle makes the buses and the link of a vehicle; its agent is not started yet.
func (w *World) AddVehicle(ctx context.Context, cfg VehicleConfig) (*Vehicle, error) {
	v := &Vehicle{Name: cfg.Vehicle, world: w, cfg: cfg, dir: filepath.Join(w.cfg.Dir, "agent")}
	if len(w.vehicles) > 0 {
		v.dir += "-" + cfg.Vehicle
	}
	var err error
	named := func(flag string) bool { return strings.HasPrefix(flag, "--campaign") }
	if cfg.Campaign == "" && !cfg.Bare && !slices.ContainsFunc(cfg.Flags, named) {
		v.cfg.Campaign = filepath.Join(v.dir, "starter.yaml")
		if err = v.writeStarter(); err != nil {
			return nil, err
		}
	}
	if v.creds, err = w.Device(ctx, cfg.Vehicle, cfg.Device, filepath.Join(v.dir, "identity")); err != nil {
		return nil, err
	}
	var names []string
	for _, b := range cfg.Buses {
		if cfg.Interfaces[b.Name] == "" {
			names = append(names, b.Name)
		}
	}
	if err := v.openInterfaces(ctx); err != nil {
		return nil, err
	}
	if v.Hub, v.forget, err = w.openHub(cfg, virtual.Config{Buses: names, Tap: cfg.Tap, Log: w.cfg.Log}); err != nil {
		return nil, errors.Join(err, v.closeInterfaces())
	}
	if v.Link, err = fault.Listen(w.Ports().MQTT); err != nil {
		return nil, errors.Join(err, v.Hub.Close(), v.forget(), v.closeInterfaces())
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v.ended = cancel
	v.running.Go(func() { v.logged("bus hub", v.Hub.Run(running)) })
	v.running.Go(func() { v.logged("link", v.Link.Run(running)) })
	for _, k := range v.kernel {
		v.running.Go(func() { k.watch(running, cfg.Tap) })
	}
	w.vehicles = append(w.vehicles, v)
	return v, w.setPorts(func(p *Ports) { p.Link, p.Bus = v.Link.Addr(), v.URL(cfg.Buses[0].Name) })
}

// openInterfaces attaches to the buses that are interfaces of the kernel.
func (v *Vehicle) openInterfaces(ctx context.Context) error {
	for _, b := range v.cfg.Buses {
		iface := v.cfg.Interfaces[b.Name]
		if iface == "" {
			continue
		}
		k, err := openInterface(ctx, b.Name, iface)
		if err != nil {
			return errors.Join(err, v.closeInterfaces())
		}
		v.kernel = append(v.kernel, k)
	}
	return nil
}

func (v *Vehicle) closeInterfaces() (err error) {
	for _, k := range v.kernel {
		err = errors.Join(err, k.close())
	}
	return err
}

// URL is what an agent reads a bus by.
func (v *Vehicle) URL(bus string) string {
	if iface := v.cfg.Interfaces[bus]; iface != "" {
		return socketcan.Scheme + ":" + iface
	}
	return v.Hub.URL(bus)
}

func (v *Vehicle) logged(what string, err error) {
	if err != nil {
		v.world.cfg.Log.Error(what+" ended", "error", err)
	}
}

// reportEvery is how often agents tell their status.
const reportEvery = 200 * time.Millisecond

// Arguments are the command line of the agent, without the program's name.
func (v *Vehicle) Arguments() []string {
	args := []string{
		"run", "--data", v.dir, "--endpoint", v.Link.Addr(), "--download", v.download(),
		"--cert", v.creds.Cert, "--key", v.creds.Key, "--ca", v.creds.CA,
		// A demonstration must not wait for minutes until a dead link is noticed.
		"--keep-alive", "4s", "--will-delay", "2s", "--session-expiry", "60s",
		"--backoff-min", "200ms", "--backoff-max", "2s", "--drain", "20s",
	}
	for _, b := range v.cfg.Buses {
		args = append(args, "--can", b.Name+"="+v.URL(b.Name))
		for _, file := range b.DBC {
			args = append(args, "--dbc", b.Name+"="+file)
		}
		if b.J1939 {
			args = append(args, "--j1939", b.Name)
		}
	}
	if v.cfg.Campaign != "" {
		args = append(args, "--campaign", v.cfg.Campaign)
	}
	if v.cfg.Commit > 0 {
		args = append(args, "--commit", v.cfg.Commit.String(), "--commit-urgent", min(v.cfg.Commit, time.Second).String())
	}
	return append(args, v.cfg.Flags...)
}

// supervise does what the first process of a device does when the agent has ended on
// its own: it restarts the machine, and the boot loader chooses the slot.
func (v *Vehicle) supervise() error {
	v.mu.Lock()
	p := v.agent
	v.mu.Unlock()
	if v.cfg.Board == nil || p == nil || p.failure() == nil {
		return nil
	}
	return v.PowerOn()
}

// PowerOn starts the board, and the agent of the firmware that runs then. It does not wait.
func (v *Vehicle) PowerOn() error {
	if _, err := v.cfg.Board.Start(); err != nil {
		return err
	}
	return v.Launch()
}

// download is where the agent fetches update files.
func (v *Vehicle) download() string {
	if v.cfg.Download != "" {
		return v.cfg.Download
	}
	return v.world.Ports().Download
}

// Start powers the agent on and waits until it reads all buses.
func (v *Vehicle) Start(ctx context.Context) error {
	if err := v.Launch(); err != nil {
		return err
	}
	return v.Await(ctx)
}

// Launch powers the agent on and does not wait.
func (v *Vehicle) Launch() error {
	args := append(v.Arguments(), "--report", reportEvery.String())
	if b := v.cfg.Board; b != nil {
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
	for _, k := range v.kernel {
		before[k.name], _, _ = k.state()
	}
	v.mu.Lock() // its first report must not come before the start is in the list
	defer v.mu.Unlock()
	p, err := startProcess("telltale-agent", v.world.agent, v.world.logFile("agent-"+v.Name), v.report, args...)
	if err != nil {
		return err
	}
	v.agent = p
	v.starts = append(v.starts, Start{PID: p.cmd.Process.Pid, from: before})
	v.status = Status{}
	return nil
}

// Await waits until a launched agent reads all buses.
func (v *Vehicle) Await(ctx context.Context) error {
	p := v.agent
	for end := time.Now().Add(startWait); ; time.Sleep(5 * time.Millisecond) {
		switch {
		case v.Status().Attached == len(v.cfg.Buses):
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
func (v *Vehicle) report(line []byte) {
	var s Status
	if json.Unmarshal(line, &s) != nil || s.Boot == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status = s
	start := &v.starts[len(v.starts)-1]
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
func (v *Vehicle) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status
}

// Starts lists every start of the agent so far.
func (v *Vehicle) Starts() []Start {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Start(nil), v.starts...)
}

// Running says whether the agent is powered. It may be called from any goroutine.
func (v *Vehicle) Running() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.agent != nil && v.agent.running()
}

func (v *Vehicle) failure() error {
	for _, k := range v.kernel {
		if _, _, err := k.state(); err != nil {
			return fmt.Errorf("bus %s: %w", k.name, err)
		}
	}
	v.mu.Lock()
	p := v.agent
	v.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.failure()
}

// Freeze stops the agent where it is, as a power cut does: it will never run
// again, and sees nothing of what happens to its disk before Kill.
func (v *Vehicle) Freeze() { v.agent.freeze() }

// Kill cuts the power: SIGKILL.
func (v *Vehicle) Kill() { v.agent.kill() }

// KillAtNextWrite cuts the power as soon as the agent is seen to write to its
// buffer, so that it is in the middle of a commit; at the latest when ctx ends.
// It says whether a write was seen.
func (v *Vehicle) KillAtNextWrite(ctx context.Context) bool {
	folder := filepath.Join(v.dir, "buffer")
	before, seen := newest(folder), false
	for !seen && ctx.Err() == nil && v.agent.running() {
		time.Sleep(200 * time.Microsecond)
		seen = newest(folder) != before
	}
	v.agent.kill()
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
func (v *Vehicle) Stop(ctx context.Context) error {
	if v.agent == nil {
		return nil
	}
	return v.agent.stop(ctx)
}

// Account asks the agent's program for the account of its folder. The agent must not run.
func (v *Vehicle) Account(ctx context.Context) (report.Account, error) {
	var a report.Account
	out, err := exec.CommandContext(ctx, v.world.agent, "ledger", "--data", v.dir).Output()
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
func (v *Vehicle) AccountBefore(ctx context.Context) (report.Account, error) {
	if _, err := os.Stat(filepath.Join(v.dir, "buffer")); errors.Is(err, fs.ErrNotExist) {
		return report.Account{}, nil
	}
	return v.Account(ctx)
}

// Device is the identifier of the vehicle's device.
func (v *Vehicle) Device() string { return v.cfg.Device }

// Buses gives the names of the vehicle's buses in order.
func (v *Vehicle) Buses() []Bus { return v.cfg.Buses }

func (v *Vehicle) close(ctx context.Context) error {
	err := v.Stop(ctx)
	v.ended()
	_ = v.Hub.Close()
	v.running.Wait()
	return errors.Join(err, v.forget(), v.closeInterfaces())
}
