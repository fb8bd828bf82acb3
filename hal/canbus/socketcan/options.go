package socketcan

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol"
)

// Scheme of the URLs of SocketCAN buses.
const Scheme = "socketcan"

// maxInterface is IFNAMSIZ of linux/if.h without the closing zero.
const maxInterface = 15

// Bounds and defaults of the options.
const (
	minBitrate     = 1_000
	maxBitrate     = 1_000_000 // ISO 11898-2, arbitration phase
	maxDataBitrate = 8_000_000
	// DefaultBuffer is asked for as receive buffer, in bytes; the kernel grants twice that. A frame takes
	// about 768 bytes of it, so this is 10 thousand frames. Without CAP_NET_ADMIN the system's
	// net.core.rmem_max bounds it, by default to about 550 frames.
	DefaultBuffer = 4 << 20
	minBuffer     = 16 << 10
	// MaxBuffer is the largest receive buffer that an option may ask for, in bytes.
	MaxBuffer = 256 << 20
	// DefaultRestart is how long a controller whose bit rate we set stays away after bus-off.
	DefaultRestart = 100 * time.Millisecond
)

// Options name an interface and how it is to be.
type Options struct {
	Interface string
	// BitrateHz and DataBitrateHz are set on the interface; 0: they stay as they are.
	BitrateHz, DataBitrateHz uint32
	// FD and ListenOnly are set on the interface when true.
	FD, ListenOnly bool
	// Restart is set together with the bit rate; 0: DefaultRestart.
	Restart time.Duration
	// Send is what may be sent; the zero value is nothing. Open itself does not look at it: see canbus.Restrict.
	Send canbus.Permission
	// Buffer is the receive buffer in bytes; 0: DefaultBuffer.
	Buffer int
}

// ParseURL reads socketcan:can0?bitrate=500000&… or an interface name alone.
// The error wraps canbus.ErrConfig and names the option.
func ParseURL(text string) (Options, error) {
	rest, prefixed := strings.CutPrefix(text, Scheme+":")
	name, query, options := strings.Cut(rest, "?")
	if !prefixed && (options || strings.Contains(text, ":")) {
		return Options{}, fmt.Errorf("%w: %.64q: expected an interface such as can0, or socketcan:can0?bitrate=500000", canbus.ErrConfig, text)
	}
	o := Options{Interface: name}
	if err := checkInterface(name); err != nil {
		return Options{}, fmt.Errorf("%w: %w", canbus.ErrConfig, err)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Options{}, fmt.Errorf("%w: interface %s: %w", canbus.ErrConfig, name, err)
	}
	for key, all := range values {
		if len(all) != 1 {
			return Options{}, fmt.Errorf("%w: interface %s: option %s: expected once", canbus.ErrConfig, name, plain(key))
		}
		if err := o.set(key, all[0]); err != nil {
			return Options{}, fmt.Errorf("%w: interface %s: option %s: %w", canbus.ErrConfig, name, plain(key), err)
		}
	}
	if err := o.check(); err != nil {
		return Options{}, fmt.Errorf("%w: interface %s: %w", canbus.ErrConfig, name, err)
	}
	return o, nil
}

// checkInterface accepts what dev_valid_name of the kernel does, and no colon or question mark.
func checkInterface(name string) error {
	if name == "" || len(name) > maxInterface || name == "." || name == ".." || strings.ContainsAny(name, "/:?=& \t\r\n\v\f") {
		return fmt.Errorf("expected the name of an interface of 1 to %d bytes, found %.32q", maxInterface, name)
	}
	return nil
}

// plain gives the name of an option for an error, quoted when it could never be one.
func plain(key string) string {
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz-") == "" && key != "" {
		return key
	}
	return fmt.Sprintf("%.32q", key)
}

func (o *Options) set(key, value string) (err error) {
	switch key {
	case "bitrate":
		o.BitrateHz, err = parseBitrate(value, maxBitrate)
	case "dbitrate":
		o.DataBitrateHz, err = parseBitrate(value, maxDataBitrate)
	case "fd":
		o.FD, err = parseSwitch(value)
	case "listen-only":
		o.ListenOnly, err = parseSwitch(value)
	case "send":
		o.Send, err = canbus.ParsePermission(value)
	case "restart":
		if o.Restart, err = time.ParseDuration(value); err != nil || o.Restart < time.Millisecond || o.Restart > time.Minute {
			err = fmt.Errorf("expected 1ms to 1m, found %.32q", value)
		}
	case "buffer":
		var size int64
		if size, err = protocol.ParseSize(value); err == nil && (size < minBuffer || size > MaxBuffer) {
			err = fmt.Errorf("expected 16KiB to 256MiB, found %.32q", value)
		}
		o.Buffer = int(size)
	default:
		err = fmt.Errorf("unknown; there are bitrate, dbitrate, fd, listen-only, restart, send and buffer")
	}
	return err
}

// check looks at options that belong together.
func (o *Options) check() error {
	switch {
	case o.DataBitrateHz > 0 && (!o.FD || o.BitrateHz == 0):
		return fmt.Errorf("option dbitrate: expected together with bitrate and fd=on")
	case o.DataBitrateHz > 0 && o.DataBitrateHz < o.BitrateHz:
		return fmt.Errorf("option dbitrate: expected at least the bitrate, %d", o.BitrateHz)
	case o.Restart > 0 && o.BitrateHz == 0:
		return fmt.Errorf("option restart: expected together with bitrate")
	case o.ListenOnly && !o.Send.Nothing():
		return fmt.Errorf("option send: expected off, since a listen-only controller cannot send")
	}
	return nil
}

// configures says whether the interface itself is to be set.
func (o *Options) configures() bool { return o.BitrateHz > 0 || o.FD || o.ListenOnly }

func parseBitrate(text string, most uint32) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n < minBitrate || n > uint64(most) {
		return 0, fmt.Errorf("expected %d to %d bit/s, found %.32q", minBitrate, most, text)
	}
	return uint32(n), nil
}

func parseSwitch(text string) (bool, error) {
	if text != "on" && text != "off" {
		return false, fmt.Errorf("expected on or off, found %.32q", text)
	}
	return text == "on", nil
}
