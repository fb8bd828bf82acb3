package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"telltale.dev/agent"
	"telltale.dev/agent/settings"
	"telltale.dev/agent/update"
	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/protocol"
	"telltale.dev/protocol/signed"
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
	if cfg.Update.Keys, err = trusted(&c.Firmware); err != nil {
		return fmt.Errorf("%s: %w", c.At("update-keys", ""), err)
	}
	return nil
}

// unknownVersion is how --update-version says that nobody knows.
const unknownVersion = "unknown"

// maxKey bounds the file of a public key.
const maxKey = 1 << 20

// trusted reads the keys; a folder without any would trust nobody.
func trusted(c *settings.Firmware) (signed.Keys, error) {
	names, err := filepath.Glob(filepath.Join(c.UpdateKeys, "*.pem"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("expected at least one public key *.pem in %s", c.UpdateKeys)
	}
	files := make([][]byte, len(names))
	for i, name := range names {
		if files[i], _, err = durable.ReadRegular(name, maxKey); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return signed.ParseKeys(files...)
}

// openSlots opens what --slots names; nil for none.
func openSlots(url string) (slots.Slots, error) {
	driver, rest, _ := strings.Cut(url, ":")
	switch {
	case url == "" || url == "none":
		return nil, nil
	case driver != "uboot":
		return nil, fmt.Errorf("expected none, uboot or uboot:state=FILE,a=FILE,b=FILE,booted=A, found %q", url)
	case rest == "":
		cfg, err := uboot.Find("/")
		if err != nil {
			return nil, err
		}
		return uboot.Open(cfg)
	}
	cfg := uboot.Config{Images: map[slots.Slot]string{}}
	seen := map[string]bool{}
	for _, pair := range strings.Split(rest, ",") {
		key, value, _ := strings.Cut(pair, "=")
		if seen[key] {
			return nil, fmt.Errorf("expected %s= once", key)
		}
		seen[key] = true
		switch key {
		case "state":
			cfg.State = value
		case "a":
			cfg.Images[slots.A] = value
		case "b":
			cfg.Images[slots.B] = value
		case "booted":
			cfg.Booted = slots.Slot(value)
		default:
			return nil, fmt.Errorf("expected state=, a=, b= and booted=, found %q", pair)
		}
	}
	return uboot.Open(cfg)
}
