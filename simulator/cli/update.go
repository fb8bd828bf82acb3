package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"telltale.dev/protocol/updates"
	"telltale.dev/simulator/client"
	"telltale.dev/simulator/terminal"

	"telltale.dev/protocol/firmware"
)

type Update struct {
	Start  updateStartCommand  `cmd:"" default:"withargs" help:"Upload a signed file and update one vehicle with it (the default)."`
	Status updateStatusCommand `cmd:"" help:"Tell what runs on a vehicle, and where its update stands."`
	Cancel updateCancelCommand `cmd:"" help:"Ask a vehicle to drop its update."`
}

type updateStartCommand struct {
	client.Client
	VID            string        `arg:"" help:"The vehicle."`
	File           string        `arg:"" help:"The update file."`
	Device         string        `placeholder:"DID" help:"The device, when the vehicle has several."`
	AllowDowngrade bool          `help:"Take a release older than the one running."`
	Health         time.Duration `help:"How long the new firmware has to be healthy and connected. Default: the device decides."`
	Timeout        []string      `placeholder:"STATE=TIME" help:"How long the update may stand in a state, such as DOWNLOADING=1h. May be repeated."`
	NoWait         bool          `help:"Do not follow the update to its end."`
	JSON           bool          `name:"json" help:"Print how it stands at last as one JSON object."`
}

// updateView is what the API says of an update.
type updateView struct {
	ID         string     `json:"id"`
	Device     string     `json:"did"`
	Version    string     `json:"version"`
	Release    uint64     `json:"release"`
	Size       int64      `json:"size"`
	Bytes      int64      `json:"bytes"`
	State      string     `json:"state"`
	Ended      bool       `json:"ended"`
	Reason     string     `json:"reason"`
	Detail     string     `json:"detail"`
	Changed    time.Time  `json:"changed"`
	Heard      *time.Time `json:"heard"`
	Deadline   *time.Time `json:"deadline"`
	TimedOutIn string     `json:"timed_out_in"`
	Late       bool       `json:"late"`
	Canceling  bool       `json:"canceling"`
	Steps      []struct {
		State  string    `json:"state"`
		Time   time.Time `json:"time"`
		Reason string    `json:"reason"`
	} `json:"steps"`
}

// firmwareView is what the API says of a vehicle's firmware.
type firmwareView struct {
	Devices []struct {
		DID       string    `json:"did"`
		Version   string    `json:"version"`
		Release   uint64    `json:"release"`
		Board     string    `json:"board"`
		Slot      string    `json:"slot"`
		Trial     bool      `json:"trial"`
		Confirmed string    `json:"confirmed"`
		Told      time.Time `json:"told"`
	} `json:"devices"`
	Update *updateView `json:"update"`
}

// errUpdate is the exit code of an update that did not end well.
var errUpdate = errors.New("the update is not confirmed")

// longest is the longest time in seconds that a request can carry.
const longest = math.MaxUint32 * time.Second

// Run uploads, starts and follows.
func (c *updateStartCommand) Run(ctx context.Context) error {
	if c.Health != 0 && (c.Health < time.Second || c.Health > longest) {
		return fmt.Errorf("--health %v: expected a second at least", c.Health)
	}
	wanted := map[string]any{"did": c.Device, "allow_downgrade": c.AllowDowngrade, "health_s": uint32(c.Health.Seconds())}
	deadlines := map[string]uint32{}
	for _, arg := range c.Timeout {
		state, text, _ := strings.Cut(arg, "=")
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second || d > longest {
			return fmt.Errorf("--timeout %s: expected STATE=TIME, a second at least", arg)
		}
		deadlines[state] = uint32(d.Seconds())
	}
	wanted["deadlines_s"] = deadlines
	file, err := c.upload(ctx)
	if err != nil {
		return err
	}
	wanted["file"] = file
	text, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	var u updateView
	start := client.Request{Method: http.MethodPut, Path: []string{"v1", "vehicles", c.VID, "update"}, Content: "application/json", Body: bytes.NewReader(text)}
	if err := c.Ask(ctx, &u, start); err != nil {
		return err
	}
	if c.NoWait {
		return c.show(&u)
	}
	return c.follow(ctx, u.ID)
}

// upload looks at the file first, so that a wrong one is not sent for nothing.
func (c *updateStartCommand) upload(ctx context.Context) (hash string, err error) {
	file, err := os.Open(c.File)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h, err := firmware.ReadHeader(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.File, err)
	}
	size, err := h.FileSize()
	if err != nil {
		return "", err
	}
	if info, err := file.Stat(); err != nil || info.Size() != size {
		return "", fmt.Errorf("%s: expected %d bytes, as its header says: %w", c.File, size, firmware.ErrTruncated)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	var kept struct{ File string }
	err = c.Ask(ctx, &kept, client.Request{Method: http.MethodPost, Path: []string{"v1", "updates"}, Content: "application/octet-stream", Body: file})
	return kept.File, err
}

// followEvery is how often a followed update is asked for.
const followEvery = 300 * time.Millisecond

// follow prints how the update goes until its end. A cloud that is away for a while is waited for.
func (c *updateStartCommand) follow(ctx context.Context, id string) error {
	out := io.Writer(os.Stdout)
	if c.JSON {
		out = os.Stderr // the last line of standard output is for programs
	}
	line := progressLine{out: out, terminal: terminal.Of(out)}
	defer line.end()
	for {
		var f firmwareView
		err := c.Get(ctx, &f, "v1", "vehicles", c.VID, "update")
		var away *client.NoAnswer
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &away):
			line.print("the cloud does not answer", "")
		case err != nil:
			return err
		case f.Update == nil || f.Update.ID != id:
			return errors.New("another update has taken the place of this one")
		default:
			u := f.Update
			line.print(u.State, u.progress())
			if u.Ended {
				line.end()
				return c.show(u)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}

// show prints the end, and makes the exit code tell of it.
func (c *updateStartCommand) show(u *updateView) error {
	if c.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(u); err != nil {
			return err
		}
	} else if !u.Ended {
		fmt.Printf("%s is under way (%s); telltale update status %s tells how it stands\n", u.Version, u.State, c.VID)
	}
	if u.Ended && u.State != string(updates.Confirmed) {
		return errUpdate
	}
	return nil
}

// progress is one line on where the update stands.
func (u *updateView) progress() string {
	parts := []string{}
	switch updates.State(u.State) {
	case updates.Downloading:
		parts = append(parts, fmt.Sprintf("%d%% of %.1f MB", 100*u.Bytes/max(u.Size, 1), float64(u.Size)/1e6))
	case updates.Confirmed:
		parts = append(parts, fmt.Sprintf("%s (release %d) runs", u.Version, u.Release))
	case updates.TimedOut:
		parts = append(parts, "nothing was heard in time in the state "+u.TimedOutIn)
	}
	for _, part := range []string{u.Reason, u.Detail} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if u.Late {
		parts = append(parts, "heard late, after "+u.TimedOutIn+" had timed out")
	}
	if u.Canceling {
		parts = append(parts, "asked to cancel")
	}
	return strings.Join(parts, "; ")
}

type updateStatusCommand struct {
	client.Client
	VID  string `arg:"" help:"The vehicle."`
	JSON bool   `name:"json" help:"As JSON."`
}

// Run tells how things stand. The exit code is 0 whatever the state: it was told.
func (c *updateStatusCommand) Run(ctx context.Context) error {
	r := client.Request{Path: []string{"v1", "vehicles", c.VID, "update"}}
	if c.JSON {
		return c.Print(ctx, r)
	}
	var f firmwareView
	if err := c.Ask(ctx, &f, r); err != nil {
		return err
	}
	for _, d := range f.Devices {
		fmt.Printf("%s runs %s", d.DID, d.Version)
		if d.Release > 0 {
			fmt.Printf(" (release %d)", d.Release)
		}
		if d.Slot != "" {
			fmt.Printf(" from slot %s", d.Slot)
		}
		if d.Trial {
			fmt.Print(", on trial")
		}
		if d.Confirmed != "" {
			fmt.Printf(", BOOT_FAILED: slot %s is confirmed and could not be started", d.Confirmed)
		}
		fmt.Printf("; told %s\n", clock(&d.Told))
	}
	if len(f.Devices) == 0 {
		fmt.Println("no device has told what it runs")
	}
	if f.Update == nil {
		fmt.Println("no update so far")
		return nil
	}
	f.Update.print()
	return nil
}

func (u *updateView) print() {
	fmt.Printf("update %s of %s to %s (release %d): %s\n", u.ID, u.Device, u.Version, u.Release, u.State)
	if text := u.progress(); text != "" {
		fmt.Println("  " + text)
	}
	if u.Deadline != nil && !u.Ended {
		fmt.Printf("  times out %s unless something is heard\n", clock(u.Deadline))
	}
	for _, s := range u.Steps {
		fmt.Println(strings.TrimRight(fmt.Sprintf("  %s  %-12s %s", clock(&s.Time), s.State, s.Reason), " "))
	}
}

type updateCancelCommand struct {
	client.Client
	VID string `arg:"" help:"The vehicle."`
}

// Run asks.
func (c *updateCancelCommand) Run(ctx context.Context) error {
	var u updateView
	if err := c.Ask(ctx, &u, client.Request{Method: http.MethodPost, Path: []string{"v1", "vehicles", c.VID, "update", "cancel"}}); err != nil {
		return err
	}
	if u.Ended {
		fmt.Println("canceled")
		return nil
	}
	fmt.Printf("asked while %s; the vehicle drops it unless a slot is being written\n", u.State)
	return nil
}
