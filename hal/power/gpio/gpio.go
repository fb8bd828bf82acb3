// Package gpio reads ignition and shutdown notice from lines of a GPIO chip,
// through the character device of Linux (uAPI v2, kernel 5.10 and later).
//
// It has been run on the chip of QEMU's ARM machines (PL061), on no vehicle's board yet.
package gpio

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Config says which lines are read.
type Config struct {
	Chip     string // device, such as /dev/gpiochip0
	Ignition uint32 // line that is active while the ignition is on
	// Shutdown is the line that is active when power is about to be cut, Notice how
	// long it lasts then. Zero Notice: there is no such line.
	Shutdown  uint32
	Notice    time.Duration
	ActiveLow bool          // both lines are active when low
	Debounce  time.Duration // how long a level must last; zero: no debouncing
}

// Parse reads the form of the command line:
//
//	/dev/gpiochip0?line=17&shutdown=27&notice=10s&active-low=on&debounce=50ms
//
// Only the chip and its line are needed. The error names the parameter.
func Parse(text string) (Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Path == "" || u.Host != "" {
		return Config{}, fmt.Errorf("gpio %q: expected a device with its line, such as /dev/gpiochip0?line=17", text)
	}
	c := Config{Chip: u.Path}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, fmt.Errorf("gpio %q: expected parameters of the form name=value", text)
	}
	for name, values := range query {
		err := c.set(name, values[0])
		if len(values) > 1 {
			err = errors.New("expected once")
		}
		if err != nil {
			return Config{}, fmt.Errorf("gpio: %s: %w", name, err)
		}
	}
	if !query.Has("line") {
		return Config{}, fmt.Errorf("gpio %q: expected a line, such as %s?line=17", text, u.Path)
	}
	if query.Has("shutdown") != query.Has("notice") {
		return Config{}, fmt.Errorf("gpio %q: expected shutdown and notice together", text)
	}
	if query.Has("shutdown") && c.Shutdown == c.Ignition {
		return Config{}, fmt.Errorf("gpio: shutdown: expected another line than %d, the ignition's", c.Ignition)
	}
	return c, nil
}

// set takes one parameter.
func (c *Config) set(name, value string) (err error) {
	switch name {
	case "line":
		c.Ignition, err = line(value)
	case "shutdown":
		c.Shutdown, err = line(value)
	case "notice":
		if c.Notice, err = time.ParseDuration(value); err != nil || c.Notice <= 0 {
			err = fmt.Errorf("expected a time such as 10s, found %q", value)
		}
	case "debounce":
		if c.Debounce, err = time.ParseDuration(value); err != nil || c.Debounce < 0 || c.Debounce > maxDebounce {
			err = fmt.Errorf("expected a time such as 50ms, at most %v, found %q", maxDebounce, value)
		}
	case "active-low":
		switch value {
		case "on", "off":
			c.ActiveLow = value == "on"
		default:
			err = fmt.Errorf("expected on or off, found %q", value)
		}
	default:
		err = errors.New("expected one of line, shutdown, notice, active-low and debounce")
	}
	return err
}

// maxDebounce bounds Debounce.
const maxDebounce = 10 * time.Second

func line(value string) (uint32, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("expected a number from 0, found %q", value)
	}
	return uint32(n), nil
}
