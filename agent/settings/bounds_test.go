package settings

import (
	"strings"
	"testing"
)

// run is a command line that is right.
func run(more ...string) []string {
	return append([]string{
		"run", "--data", "/x", "--can", "can0", "--endpoint", "broker:8883", "--cert", "c", "--key", "k", "--ca", "a",
	}, more...)
}

// TestBounds: a value that means nothing is refused, also zero.
func TestBounds(t *testing.T) {
	c, _, err := parse(t, run("--j1939", "can0", "--download", "[::1]:8884,host:1", "--drain=0s", "--power-window=0s", "--window=64")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run.Bounds(); err != nil {
		t.Errorf("what is right: got %v", err)
	}
	for arg, want := range map[string]string{
		"--keep-alive=0s":          "--keep-alive: expected 1s to 18h12m15s, found 0s",
		"--keep-alive=19h":         "--keep-alive: expected 1s to 18h12m15s, found 19h0m0s",
		"--will-delay=0s":          "--will-delay: expected at least 1s, found 0s",
		"--will-delay=300s":        "--session-expiry: expected more than --will-delay (5m0s)",
		"--session-expiry=-1s":     "--session-expiry: expected 1s to ",
		"--backoff-min=0s":         "--backoff-min: expected more than 0s, found 0s",
		"--backoff-max=500ms":      "--backoff-max: expected at least 1s, found 500ms",
		"--window=0":               "--window: expected 1 to 64, found 0",
		"--window=65":              "--window: expected 1 to 64, found 65",
		"--commit=0s":              "--commit: expected more than 0s, found 0s",
		"--commit-urgent=-1s":      "--commit-urgent: expected more than 0s, found -1s",
		"--drain=-1s":              "--drain: expected at least 0s, found -1s",
		"--buffer=0":               `--buffer: expected at least 1048576 bytes, found "0"`,
		"--buffer=big":             `--buffer: size "big": expected a number`,
		"--power-window=-1s":       "--power-window: expected at least 0s, found -1s",
		"--power-wake-after=-1s":   "--power-wake-after: expected at least 0s, found -1s",
		"--update-health=0s":       "--update-health: expected more than 0s, found 0s",
		"--update-max=0":           `--update-max: expected at least 1 bytes, found "0"`,
		"--j1939=can1":             "--j1939 can1: expected a NAME that --can has",
		"--download=host":          "--download host: expected HOST:PORT",
		"--download=https://h:1/x": "--download https://h:1/x: expected HOST:PORT",
		"--download=host:0":        "--download host:0: expected HOST:PORT",
	} {
		c, _, err := parse(t, run(arg)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run.Bounds(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", arg, err, want)
		}
	}
	if c, _, err = parse(t, "run", "--config", written(t, "data: /x\nbuses: [{name: can0}]\nendpoint: h\ncert: c\nkey: k\nca: a\nwindow: 0")); err != nil {
		t.Fatal(err)
	}
	if err := c.Run.Bounds(); err == nil || err.Error() != "agent.yaml:7: window: expected 1 to 64, found 0" {
		t.Errorf("in the file: got %v", err)
	}
}
