package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/agent"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/check"
	"telltale.dev/agent/link/session"
	"telltale.dev/agent/power"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/keystore"
	"telltale.dev/hal/keystore/file"
	"telltale.dev/hal/network"
	halpower "telltale.dev/hal/power"
	"telltale.dev/protocol"
)

type checkCommand struct {
	configured `embed:""`
	JSON       bool          `name:"json" nofile:"" help:"As JSON."`
	While      time.Duration `nofile:"" default:"1s" help:"How long the buses are listened to."`
	Timeout    time.Duration `nofile:"" default:"5s" help:"Longest wait for each step of a connection to the cloud."`
}

// part is one thing to look at; parts are looked at side by side.
type section func(context.Context) []check.Line

// Run looks at everything, prints what it found, and fails when something keeps the agent from its work.
func (c *checkCommand) Run(ctx context.Context) error {
	account, running := c.buffer()
	store, storeErr := file.Open(file.Config{Cert: c.Cert, Key: c.Key, CA: c.CA, Exposed: c.KeyUsers == "all"})
	sections := []section{func(context.Context) []check.Line { return []check.Line{c.settings()} }}
	sections = append(sections, c.buses()...)
	sections = append(sections,
		func(context.Context) []check.Line { return c.identity(store, storeErr) },
		func(context.Context) []check.Line { return []check.Line{check.Clock{}.Look()} },
		func(context.Context) []check.Line { return append(c.disk(), account) },
		c.supply, c.way,
	)
	for _, endpoint := range c.Endpoint {
		sections = append(sections, func(ctx context.Context) []check.Line { return c.cloud(ctx, endpoint, store, storeErr, !running) })
	}
	if s, err := openSlots(c.Slots); err != nil || s != nil {
		sections = append(sections, func(context.Context) []check.Line {
			if err != nil {
				return []check.Line{check.Failure("slots", "mend slots in the configuration", "%v", err)}
			}
			lines := []check.Line{check.Slots(s)}
			if _, err := c.Trusted(); err != nil {
				lines = append(lines, check.Failure("update keys", "put the public keys whose updates are trusted there", "%s: %v", c.At("update-keys", ""), err))
			}
			return lines
		})
	}
	report := lookAll(ctx, sections)
	print := report.Print
	if c.JSON {
		print = report.JSON
	}
	if err := print(os.Stdout); err != nil {
		return err
	}
	if n := report.Failures(); n > 0 {
		return fmt.Errorf("%d of %d checks say FAIL", n, len(report))
	}
	return nil
}

// lookAll looks at all parts side by side, and gives their lines in order.
func lookAll(ctx context.Context, sections []section) (all check.Report) {
	found := make([][]check.Line, len(sections))
	var looking sync.WaitGroup
	for i, look := range sections {
		looking.Go(func() { found[i] = look(ctx) })
	}
	looking.Wait()
	return slices.Concat(found...)
}

// settings looks at the values, and reads what the configuration names: DBC files and campaigns.
func (c *checkCommand) settings() check.Line {
	var cfg agent.Config
	if err := c.readable(&cfg, slog.New(slog.DiscardHandler)); err != nil {
		return check.Failure("settings", "mend it in the configuration, or on the command line", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	collects := fmt.Sprintf("%d campaigns until the cloud says otherwise", len(cfg.Default))
	if len(cfg.Default) == 0 {
		collects = "no campaign: nothing is collected until the cloud pushes one"
	}
	text := fmt.Sprintf("%d buses, %d signals in %d DBC files, %s", len(cfg.Inputs), len(cfg.Plan.Signals()), len(c.DBC), collects)
	if len(cfg.Plan.Signals()) == 0 {
		return check.Warning("settings", "name DBC files for the buses: nothing can be decoded", "%s", text)
	}
	return check.Okay("settings", "%s", text)
}

// buses are looked at as they are: nothing is set on an interface, nothing is sent.
func (c *checkCommand) buses() (sections []section) {
	for _, arg := range c.Can {
		in, err := busInput(arg, socketcan.Open)
		if err != nil {
			continue // settings says so
		}
		bus := check.Bus{Name: in.Name, Open: in.Open}
		_, url, named := strings.Cut(arg, "=")
		if !named {
			url = arg
		}
		if o, err := socketcan.ParseURL(url); err == nil {
			bus.BitrateHz, bus.DataBitrateHz = o.BitrateHz, o.DataBitrateHz
			bus.Managed = o.BitrateHz > 0
			plain, err := busInput(in.Name+"="+o.Interface, socketcan.Open)
			if err != nil {
				continue
			}
			bus.Open = plain.Open
		}
		sections = append(sections, func(ctx context.Context) []check.Line { return []check.Line{bus.Look(ctx, c.While)} })
	}
	return sections
}

func (c *checkCommand) identity(store *file.Store, err error) []check.Line {
	if err != nil {
		return check.Identity(nil, nil, c.named(err), false, time.Now())
	}
	info, statErr := os.Stat(c.Key)
	return check.Identity(store, store.Roots(), nil, statErr == nil && info.Mode().Perm()&0o007 != 0, time.Now())
}

// named adds to an error about a missing file of the identity in which folder it was
// looked for, and which setting says so. Logs name no folders; this is for who mends the setting.
func (c *checkCommand) named(err error) error {
	for _, f := range []struct{ flag, path string }{{"cert", c.Cert}, {"key", c.Key}, {"ca", c.CA}} {
		if _, statErr := os.Stat(f.path); statErr != nil {
			return fmt.Errorf("%w (%s, in %s)", err, c.At(f.flag, ""), filepath.Dir(f.path))
		}
	}
	return err
}

// buffer says what waits, and whether an agent is running.
func (c *checkCommand) buffer() (line check.Line, running bool) {
	r, err := buffer.Inspect(filepath.Join(c.Data, "buffer"))
	switch {
	case errors.Is(err, buffer.ErrLocked):
		return check.Okay("buffer", "in use by the agent, which is running"), true
	case errors.Is(err, fs.ErrNotExist):
		return check.Okay("buffer", "none yet: the agent has not run"), false
	case errors.Is(err, buffer.ErrVersion):
		return check.Failure("buffer", "of another version of the agent: let that one empty it, or remove the folder", "%v", err), false
	case err != nil:
		return check.Failure("buffer", "run the check as the agent's user", "%v", err), false
	}
	text := fmt.Sprintf("%d records with %d samples wait, %d KiB", r.Waiting.Records, r.Waiting.Samples, r.Waiting.Bytes>>10)
	switch {
	case r.SetAside > 0:
		line = check.Warning("buffer", "the disk lost or changed data: look at it, and at how power is cut", "%s; %d damaged files set aside, %d samples lost", text, r.SetAside, r.Counts.LostSamples)
	case r.Counts.EvictedSamples > 0:
		line = check.Warning("buffer", "give it more room (buffer), or the link more time", "%s; %d samples were dropped for want of room", text, r.Counts.EvictedSamples)
	default:
		line = check.Okay("buffer", "%s", text)
	}
	line.Details = r.Waiting
	return line, false
}

func (c *checkCommand) disk() []check.Line {
	size, err := protocol.ParseSize(c.Buffer)
	if err != nil {
		return []check.Line{check.Failure("disk", "mend it in the configuration", "%s: %v", c.At("buffer", ""), err)}
	}
	return check.Disk{Dir: c.Data, Wanted: size, Used: folderSize(filepath.Join(c.Data, "buffer"))}.Look()
}

// folderSize adds up the files of a folder.
func folderSize(dir string) (size int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

// glance bounds the first look at ignition and link.
const glance = 2 * time.Second

// supply reads the ignition, where it is configured.
func (c *checkCommand) supply(ctx context.Context) []check.Line {
	s, err := c.openSupply()
	if err != nil {
		return []check.Line{check.Failure("ignition", "mend power.ignition in the configuration, or let the agent's group read the device", "%v", err)}
	}
	if s == nil {
		return nil
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	state, err := s.Next(ctx, halpower.State{})
	if err != nil {
		return []check.Line{check.Failure("ignition", "whoever tells the ignition must do so before the agent starts", "%v", err)}
	}
	text := state.Ignition.String()
	if !state.Ends.IsZero() {
		text += ", power ends at " + state.Ends.UTC().Format(time.TimeOnly) + " UTC"
	}
	if problem := c.sleepless(); problem != "" {
		return []check.Line{check.Warning("ignition", "see /usr/share/doc/telltale-agent/suspend.md", "%s; %s", text, problem)}
	}
	return []check.Line{check.Okay("ignition", "%s", text)}
}

// sleepless says what of sleep and waking this user cannot set; empty: nothing that is wanted.
func (c *checkCommand) sleepless() string {
	writable := func(name string) bool {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return err == nil && f.Close() == nil
	}
	switch {
	case c.PowerAfter == string(power.Suspend) && !writable("/sys/power/state"):
		return "the machine cannot be suspended by this user"
	case c.PowerAfter != string(power.Wait) && c.PowerWakeAfter > 0 && !writable(wakeAlarm):
		return "the clock's alarm cannot be set by this user: nothing but the ignition will wake the machine"
	}
	return ""
}

// wakeAlarm is the alarm of the machine's clock.
const wakeAlarm = "/sys/class/rtc/rtc0/wakealarm"

// way looks at the link to the cloud.
func (c *checkCommand) way(ctx context.Context) []check.Line {
	m, err := openMonitor(c.Network)
	if err != nil {
		return []check.Line{check.Failure("network", "mend network in the configuration", "%s: %v", c.At("network", ""), err)}
	}
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	s, err := m.Next(ctx, network.State{})
	if err != nil {
		return []check.Line{check.Failure("network", "whoever tells the link must do so before the agent starts", "%v", err)}
	}
	text := strings.TrimSpace(s.Type.String() + " " + s.Interface)
	if s.Metered {
		text += ", metered: uploads " + c.UploadMetered.String()
	}
	if s.Roaming {
		text += ", roaming: uploads " + c.UploadRoaming.String()
	}
	line := check.Okay("network", "%s", text)
	if s.Type == network.None {
		line = check.Warning("network", "ip route; is the modem or the cable up?", "no default route")
	}
	line.Details = s
	return []check.Line{line}
}

// cloud tries to connect, under another name when the agent is running.
func (c *checkCommand) cloud(ctx context.Context, endpoint string, store *file.Store, err error, alone bool) []check.Line {
	area := "cloud " + endpoint
	if err != nil {
		return []check.Line{check.Warning(area, "first the key store", "not tried")}
	}
	cfg := session.Config{Timeout: c.Timeout}
	if cfg.TLS, err = keystore.TLSConfig(store, store.Roots(), ""); err != nil {
		return []check.Line{check.Failure(area, "", "%v", err)}
	}
	if uris := store.Chain()[0].URIs; len(uris) == 1 {
		_, cfg.Device, _ = protocol.ParseDeviceURN(uris[0].String()) // identity says what is wrong
	}
	a := session.Probe(ctx, cfg, endpoint, alone)
	line := check.Okay(area, "%s", reached(&a))
	if a.Problem != "" {
		line = check.Failure(area, a.Hint, "%s", strings.TrimPrefix(reached(&a)+"; "+a.Problem, "; "))
	}
	line.Details = a
	return []check.Line{line}
}

// reached says how far a connection came, and how long each step took.
func reached(a *session.ProbeResult) string {
	ms := func(d time.Duration) string { return d.Round(time.Millisecond / 10).String() }
	var steps []string
	// An address needs no name server.
	if host, _, err := net.SplitHostPort(a.Endpoint); a.Resolve > 0 && err == nil && host != a.Addresses[0] {
		steps = append(steps, fmt.Sprintf("DNS %s in %s", a.Addresses[0], ms(a.Resolve)))
	}
	if a.Connect > 0 {
		steps = append(steps, "TCP "+ms(a.Connect))
	}
	if a.Handshake > 0 {
		steps = append(steps, a.TLS+" "+ms(a.Handshake))
	}
	if a.Problem == "" {
		steps = append(steps, "the server takes our certificate "+ms(a.Reply))
	}
	return strings.Join(steps, ", ")
}
