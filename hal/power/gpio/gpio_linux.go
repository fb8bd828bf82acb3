package gpio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/power"
)

// Flags of include/uapi/linux/gpio.h, enum gpio_v2_line_flag.
const (
	flagActiveLow   = 1 << 1
	flagInput       = 1 << 2
	flagEdgeRising  = 1 << 4
	flagEdgeFalling = 1 << 5
)

// attrDebounce is GPIO_V2_LINE_ATTR_ID_DEBOUNCE.
const attrDebounce = 3

// lineAttribute is struct gpio_v2_line_config_attribute: the attribute, and the lines it is for.
type lineAttribute struct {
	ID, _ uint32
	Value uint64
	Mask  uint64
}

// lineRequest is struct gpio_v2_line_request with its struct gpio_v2_line_config.
type lineRequest struct {
	Offsets         [64]uint32
	Consumer        [32]byte
	Flags           uint64
	NumAttrs        uint32
	_               [5]uint32
	Attrs           [10]lineAttribute
	NumLines        uint32
	EventBufferSize uint32
	_               [5]uint32
	FD              int32
}

// lineValues is struct gpio_v2_line_values.
type lineValues struct{ Bits, Mask uint64 }

// eventSize is sizeof(struct gpio_v2_line_event).
const eventSize = 48

// Supply is a request of one or two lines.
type Supply struct {
	cfg    Config
	lines  *os.File                        // events are read from it
	values func() (bits uint64, err error) // bit 0: ignition, bit 1: shutdown
	ends   time.Time                       // of the notice that stands
}

var _ power.Supply = (*Supply)(nil)

// Open requests the lines. The error wraps power.ErrDenied when it is not allowed.
func Open(cfg Config) (*Supply, error) {
	chip, err := unix.Open(cfg.Chip, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(cfg.Chip, err)
	}
	defer unix.Close(chip) //nolint:errcheck // the request outlives it
	req := cfg.request()
	if err := ioctl(chip, unix.GPIO_V2_GET_LINE_IOCTL, unsafe.Pointer(req)); err != nil {
		return nil, fmt.Errorf("gpio: line %d of %s: %w", cfg.Ignition, cfg.Chip, err)
	}
	fd := int(req.FD)
	if err := unix.SetNonblock(fd, true); err != nil { // for deadlines
		_ = unix.Close(fd)
		return nil, fmt.Errorf("gpio: %w", err)
	}
	unix.CloseOnExec(fd)
	lines := os.NewFile(uintptr(fd), "gpio lines")
	return &Supply{cfg: cfg, lines: lines, values: func() (uint64, error) {
		v := lineValues{Mask: 1<<req.NumLines - 1}
		var failed error
		raw, err := lines.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) {
				failed = ioctl(int(fd), unix.GPIO_V2_LINE_GET_VALUES_IOCTL, unsafe.Pointer(&v))
			})
		}
		return v.Bits, errors.Join(err, failed)
	}}, nil
}

func openError(chip string, err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("gpio: %s: %w: expected membership of the group that owns the device", chip, power.ErrDenied)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("gpio: %s: no such device", chip)
	}
	return fmt.Errorf("gpio: %s: %w", chip, err)
}

// request is what the kernel is asked for.
func (c Config) request() *lineRequest {
	req := &lineRequest{NumLines: 1, Flags: flagInput | flagEdgeRising | flagEdgeFalling}
	copy(req.Consumer[:], "telltale")
	req.Offsets[0] = c.Ignition
	if c.Notice > 0 {
		req.Offsets[1], req.NumLines = c.Shutdown, 2
	}
	if c.ActiveLow {
		req.Flags |= flagActiveLow
	}
	if c.Debounce > 0 {
		req.NumAttrs = 1
		req.Attrs[0] = lineAttribute{ID: attrDebounce, Mask: 1<<req.NumLines - 1}
		*(*uint32)(unsafe.Pointer(&req.Attrs[0].Value)) = uint32(c.Debounce.Microseconds()) // a union in C
	}
	return req
}

// ioctl calls the kernel; what arg points to is of the request's type.
func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// Next implements power.Supply. An edge is only the sign to look at the lines: their
// level is what counts, so that edges that were missed do no harm.
func (s *Supply) Next(ctx context.Context, last power.State) (power.State, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.lines.SetReadDeadline(time.Now()) })
	defer func() {
		if !stop() {
			_ = s.lines.SetReadDeadline(time.Time{})
		}
	}()
	var events [16 * eventSize]byte
	for {
		if ctx.Err() != nil {
			return power.State{}, ctx.Err()
		}
		state, err := s.read(time.Now())
		if err != nil || !state.Equal(last) {
			return state, err
		}
		if _, err := s.lines.Read(events[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return power.State{}, fmt.Errorf("gpio: %w", err)
		}
	}
}

// read gives the state of the lines.
func (s *Supply) read(now time.Time) (power.State, error) {
	bits, err := s.values()
	if err != nil {
		return power.State{}, fmt.Errorf("gpio: %w", err)
	}
	state := power.State{Ignition: power.Off}
	if bits&1 != 0 {
		state.Ignition = power.On
	}
	switch {
	case bits&2 == 0:
		s.ends = time.Time{}
	case s.ends.IsZero():
		s.ends = now.Add(s.cfg.Notice)
	}
	state.Ends = s.ends
	return state, nil
}

// Close implements power.Supply.
func (s *Supply) Close() error { return s.lines.Close() }
