package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// Bus is a bus to look at.
type Bus struct {
	Name string
	Open func(context.Context) (canbus.Bus, error)
	// BitrateHz and DataBitrateHz are as configured; zero: whatever the interface has.
	BitrateHz, DataBitrateHz uint32
	// Managed says that the agent itself brings the interface up.
	Managed bool
}

// busDetails is for programs.
type busDetails struct {
	FramesPerSecond float64        `json:"frames_per_s"`
	Dropped         uint64         `json:"dropped"`
	Link            *canbus.Link   `json:"link,omitempty"`
	Errors          *canbus.Errors `json:"errors,omitempty"`
}

// Look reads the bus for a while.
func (b Bus) Look(ctx context.Context, while time.Duration) Line {
	area := "bus " + b.Name
	open, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	bus, err := b.Open(open)
	if err != nil {
		return Failure(area, b.openHint(err), "%v", err)
	}
	defer bus.Close()
	n, took, err := count(ctx, bus, while)
	details := busDetails{FramesPerSecond: float64(n) / took.Seconds(), Dropped: bus.Stats().Dropped}
	inspector, inspects := canbus.As[canbus.Inspector](bus)
	if inspects {
		if link, linkErr := inspector.Link(); linkErr == nil {
			details.Link = &link
		}
		e := inspector.Errors()
		details.Errors = &e
	}
	line := b.judge(area, &details, err)
	line.Details = details
	return line
}

// count reads frames until the time is over.
func count(ctx context.Context, bus canbus.Bus, while time.Duration) (n int, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, while)
	defer cancel()
	began := time.Now()
	var frames [256]can.Frame
	for {
		k, err := bus.Receive(ctx, frames[:])
		n += k
		if ctx.Err() != nil {
			return n, time.Since(began), nil
		}
		if err != nil {
			return n, time.Since(began), err
		}
	}
}

// openHint is what to do when the bus cannot be opened.
func (b Bus) openHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENETDOWN) && b.Managed:
		return "the agent brings it up when it starts"
	case errors.Is(err, syscall.ENETDOWN):
		return "ip link set INTERFACE up type can bitrate 500000 (with the bus's bit rate), or set bitrate in the configuration"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return "is the controller's driver loaded, and the name right? ip -details link show type can"
	case errors.Is(err, fs.ErrPermission):
		return "run the check as the agent's user, with its capabilities"
	case errors.Is(err, canbus.ErrConfig):
		return "mend the bus in the configuration"
	}
	return "is the bus there, and its name in the configuration right?"
}

// judge says how a bus is that was open.
func (b Bus) judge(area string, d *busDetails, err error) Line {
	text := b.describe(d)
	switch l := d.Link; {
	case err != nil:
		return Failure(area, "does the bus go away now and then? dmesg tells more", "%v", err)
	case l != nil && !l.Up:
		return Failure(area, b.openHint(syscall.ENETDOWN), "%s is down", l.Interface)
	case l != nil && l.State == "bus-off":
		return Failure(area, "wrong bit rate, a short circuit or a missing terminator; ip link set "+l.Interface+" type can restart-ms 100 lets it come back", "%s", text)
	case l != nil && b.BitrateHz > 0 && l.BitrateHz > 0 && l.BitrateHz != b.BitrateHz:
		return Failure(area, "the agent sets it when it starts and has CAP_NET_ADMIN", "%s; configured are %d bit/s", text, b.BitrateHz)
	case l != nil && b.DataBitrateHz > 0 && l.DataBitrateHz > 0 && l.DataBitrateHz != b.DataBitrateHz:
		return Failure(area, "the agent sets it when it starts and has CAP_NET_ADMIN", "%s; configured are %d bit/s of data", text, b.DataBitrateHz)
	case l != nil && (l.State == "error-passive" || l.State == "error-warning"):
		return Warning(area, "many errors on the wire: bit rate, terminators, ground", "%s", text)
	case d.Errors != nil && *d.Errors != (canbus.Errors{}):
		return Warning(area, "errors on the wire: bit rate, terminators, ground", "%s", text)
	case d.Dropped > 0:
		return Warning(area, "the machine is too busy, or the receive buffer too small (buffer=16MiB needs CAP_NET_ADMIN)", "%s, %d dropped", text, d.Dropped)
	case d.FramesPerSecond == 0:
		return Warning(area, "is the ignition on, the plug in, and the bit rate right?", "%s", text)
	}
	return Okay(area, "%s", text)
}

// describe says what was seen, in one line.
func (b Bus) describe(d *busDetails) string {
	var parts []string
	if l := d.Link; l != nil {
		parts = append(parts, strings.TrimSpace(l.Interface+" "+l.Kind))
		if l.State != "" {
			parts = append(parts, l.State)
		}
		if l.BitrateHz > 0 {
			rate := fmt.Sprintf("%d bit/s", l.BitrateHz)
			if l.DataBitrateHz > 0 {
				rate += fmt.Sprintf(", %d of data", l.DataBitrateHz)
			}
			parts = append(parts, rate)
		}
		if l.ListenOnly {
			parts = append(parts, "listen-only")
		}
	}
	if d.FramesPerSecond == 0 {
		parts = append(parts, "no frames")
	} else {
		parts = append(parts, fmt.Sprintf("%.0f frames/s", d.FramesPerSecond))
	}
	if e := d.Errors; e != nil && *e != (canbus.Errors{}) {
		parts = append(parts, fmt.Sprintf("error frames: %d bus, %d passive, %d bus-off", e.BusError, e.Passive, e.BusOff))
	}
	return strings.Join(parts, ", ")
}
