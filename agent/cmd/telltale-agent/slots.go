package main

import (
	"fmt"
	"strings"

	"telltale.dev/agent"
	"telltale.dev/agent/update"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/protocol"
	"telltale.dev/protocol/updates"
)

// updates sets how the firmware is changed.
func (c *configured) updates(cfg *agent.Config) error {
	size, err := protocol.ParseSize(c.UpdateMax)
	if err != nil {
		return fmt.Errorf("%s: %w", c.At("update-max", ""), err)
	}
	cfg.Update = update.Config{
		Endpoints: c.Download, MaxBytes: size,
		Running: updates.Running{Version: c.UpdateVersion, Release: c.UpdateRelease, Board: c.UpdateBoard},
		Timing:  update.Timing{Health: c.UpdateHealth, BackoffMin: c.BackoffMin, BackoffMax: c.BackoffMax},
	}
	if c.UpdateVersion == unknownVersion {
		cfg.Update.Running.Version = ""
	}
	if cfg.Update.Slots, err = openSlots(c.Slots); err != nil {
		return fmt.Errorf("%s: %w", c.At("slots", ""), err)
	}
	if cfg.Update.Slots == nil {
		return nil
	}
	if cfg.Update.Keys, err = c.Trusted(); err != nil {
		return fmt.Errorf("%s: %w", c.At("update-keys", ""), err)
	}
	return nil
}

// unknownVersion is how --update-version says that nobody knows.
const unknownVersion = "unknown"

// openSlots opens what --slots names; nil for none.
func openSlots(url string) (slots.Slots, error) {
	driver, rest, _ := strings.Cut(url, ":")
	switch {
	case url == "" || url == "none":
		return nil, nil
	case driver == "owner" && rest != "":
		return slots.NewRemote(rest), nil
	case driver != "uboot":
		return nil, fmt.Errorf("expected none, uboot, uboot:state=FILE,a=FILE,b=FILE,booted=A or owner:SOCKET, found %q", url)
	}
	cfg, err := uboot.Parse(rest)
	if err != nil {
		return nil, err
	}
	return uboot.Open(cfg)
}
