package settings

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// Bounds says which setting is out of its range. Zero, too, is a mistake where
// it means nothing: it must never stand for a default that nobody asked for.
func (c *Settings) Bounds() error {
	const keepAlive, ever = math.MaxUint16 * time.Second, math.MaxInt64 * time.Nanosecond
	for _, t := range []struct {
		flag         string
		value        time.Duration
		least, most  time.Duration
		leastIsAbove bool // the least itself is out of range
	}{
		{flag: "keep-alive", value: c.KeepAlive, least: time.Second, most: keepAlive},
		{flag: "will-delay", value: c.WillDelay, least: time.Second, most: ever},
		{flag: "session-expiry", value: c.SessionExpiry, least: time.Second, most: math.MaxUint32 * time.Second},
		{flag: "backoff-min", value: c.BackoffMin, leastIsAbove: true, most: ever},
		{flag: "backoff-max", value: c.BackoffMax, least: c.BackoffMin, most: ever},
		{flag: "commit-urgent", value: c.CommitUrgent, leastIsAbove: true, most: ever},
		{flag: "commit", value: c.Commit, leastIsAbove: true, most: ever},
		{flag: "drain", value: c.Drain, most: ever},
		{flag: "power-window", value: c.PowerWindow, most: ever},
		{flag: "power-wake-after", value: c.PowerWakeAfter, most: ever},
		{flag: "update-health", value: c.UpdateHealth, leastIsAbove: true, most: ever},
	} {
		expected := fmt.Sprintf("at least %v", t.least)
		if t.leastIsAbove {
			expected = "more than 0s"
		} else if t.most < ever {
			expected = fmt.Sprintf("%v to %v", t.least, t.most)
		}
		if t.value < t.least || t.value > t.most || t.leastIsAbove && t.value == t.least {
			return fmt.Errorf("%s: expected %s, found %v", c.At(t.flag, ""), expected, t.value)
		}
	}
	switch {
	case c.SessionExpiry <= c.WillDelay:
		return fmt.Errorf("%s: expected more than --will-delay (%v), else the will fires at once", c.At("session-expiry", ""), c.WillDelay)
	case c.Window < 1 || c.Window > maxWindow:
		return fmt.Errorf("%s: expected 1 to %d, found %d", c.At("window", ""), maxWindow, c.Window)
	}
	if err := c.sizes(); err != nil {
		return err
	}
	return c.names()
}

// maxWindow is the most publishes that a link has under way.
const maxWindow = 64

// sizes looks at the settings that are sizes.
func (c *Settings) sizes() error {
	for _, s := range []struct {
		flag, text string
		least      int64
	}{{"buffer", c.Buffer, buffer.MinMaxBytes}, {"update-max", c.UpdateMax, 1}} {
		size, err := protocol.ParseSize(s.text)
		if err == nil && size < s.least {
			err = fmt.Errorf("expected at least %d bytes, found %q", s.least, s.text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.At(s.flag, ""), err)
		}
	}
	return nil
}

// names looks at the settings that name a bus or a server.
func (c *Settings) names() error {
	for _, bus := range c.J1939 {
		if !slices.ContainsFunc(c.Can, func(arg string) bool { name, _, _ := strings.Cut(arg, "="); return name == bus }) {
			return fmt.Errorf("%s: expected a NAME that --can has", c.At("j1939", bus))
		}
	}
	for flag, list := range map[string][]string{"endpoint": c.Endpoint, "download": c.Download} {
		for _, server := range list {
			if !isAddress(server) {
				return fmt.Errorf("%s: expected HOST:PORT without a scheme, such as cloud.example:8883", c.At(flag, server))
			}
		}
	}
	return nil
}

// isAddress says whether a text is HOST:PORT, and nothing in front or behind.
func isAddress(server string) bool {
	host, port, err := net.SplitHostPort(server)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/ ")
}
