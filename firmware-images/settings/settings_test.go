package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/firmware-images/settings"
)

// TestBoards reads the init.yaml of each board.
func TestBoards(t *testing.T) {
	files, err := filepath.Glob("../*/init.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := settings.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if c.Data != "data" || c.Identity != "identity" || c.Watchdog.Device == "" || c.Agent.Silence != 30*time.Second {
			t.Errorf("%s: got %+v", file, c)
		}
	}
}

func TestRefusals(t *testing.T) {
	const command = "agent: {command: [/bin/x]}\n"
	for text, says := range map[string]string{
		"":                                                    "init.yaml: EOF",
		"agent: {command: []}":                                "init.yaml: agent.command: expected",
		"agent: {command: [x], tries: 0}":                     "init.yaml: agent: expected tries",
		"agent: {command: [x], user: 0}":                      "init.yaml: agent.user: expected a number from 1 to 65533",
		command + "watchdog: {timeout: 1s}":                   "init.yaml: watchdog.timeout: expected 2s to 10m",
		command + "buses: [{make: vcan}]":                     "init.yaml: buses: expected",
		command + "buses: [{name: a, make: b}]":               "init.yaml: buses: expected",
		command + "buses: [{name: a, listen: 'socketcan:b'}]": "init.yaml: buses: a: listen: expected a URL of this interface, found one of b",
		command + "buses: [{name: a, listen: 'a?bitrate=1'}]": "init.yaml: buses: a: listen: ",
		command + "---\n" + command:                           "init.yaml: expected one YAML document",
		command + "colour: red":                               "init.yaml: yaml: ",
	} {
		if _, err := settings.Parse([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
}
