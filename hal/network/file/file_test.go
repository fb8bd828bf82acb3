package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/hal/network"
	"telltale.dev/hal/network/file"
	"telltale.dev/hal/network/networktest"
)

func TestMonitor(t *testing.T) {
	networktest.Run(t, func(t *testing.T) (network.Monitor, func(bool)) {
		path := filepath.Join(t.TempDir(), "link")
		set := func(cellular bool) {
			text := "type=ethernet interface=eth0"
			if cellular {
				text = "type=cellular roaming=yes"
			}
			if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Error(err)
			}
		}
		set(false)
		return file.New(path), set
	})
	if _, err := file.New(filepath.Join(t.TempDir(), "link")).Next(t.Context(), network.State{}); err == nil || err.Error() != "link: no such file or directory" {
		t.Errorf("missing: got %v", err)
	}
	if _, err := file.New("/dev/zero").Next(t.Context(), network.State{}); err == nil || err.Error() != "zero: expected a regular file" {
		t.Errorf("device: got %v", err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]network.State{
		"type=cellular\n":              {Type: network.Cellular, Metered: true},
		"type=cellular metered=no":     {Type: network.Cellular},
		"type=wifi\nmetered=yes":       {Type: network.WiFi, Metered: true},
		"roaming=yes type=cellular":    {Type: network.Cellular, Roaming: true, Metered: true},
		"type=ethernet interface=eth0": {Type: network.Ethernet, Interface: "eth0"},
		"type=none":                    {Type: network.None},
	} {
		if got, err := file.Parse(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                        "expected type= with",
		"roaming=yes":             "expected type= with",
		"type=lte":                `link type "lte": expected one of none, ethernet, wifi, cellular`,
		"type=unknown":            "expected one of none",
		"type=wifi roaming=1":     `roaming: expected yes or no, found "1"`,
		"type=wifi metered":       `metered: expected yes or no, found ""`,
		"type=cellular type=wifi": `type: expected once`,
		"type=wifi operator=xy":   `"operator=xy": expected type=, interface=, roaming= or metered=`,
	} {
		if got, err := file.Parse(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %+v, %v, want %q", text, got, err, says)
		}
	}
}
