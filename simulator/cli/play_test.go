package cli_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/simulator/cli"
)

// TestPlay: who listens on a bus gets every frame of the log that is for it, from the first one on.
func TestPlay(t *testing.T) {
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "drive.log"), filepath.Join(dir, "bus")
	var text strings.Builder
	for i := range 40 {
		text.WriteString("(1700000000." + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "0000) " + []string{"can0", "can1"}[i%2] + " 123#00\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	played := make(chan error, 1)
	go func() { played <- (&cli.Play{Log: path, Bus: socket, Speed: 10}).Run(ctx) }()
	got := make(chan int, 2)
	for _, name := range []string{"can0", "can1"} {
		go func() {
			n := 0
			defer func() { got <- n }()
			for ctx.Err() == nil {
				bus, err := virtual.Dial(ctx, "virtual://"+socket+"?bus="+name)
				if err != nil { // not yet
					time.Sleep(5 * time.Millisecond)
					continue
				}
				defer bus.Close()
				for buf := make([]can.Frame, 8); ; {
					more, err := bus.Receive(ctx, buf)
					if n += more; err != nil {
						if !errors.Is(err, io.EOF) {
							t.Log(err)
						}
						return
					}
				}
			}
		}()
	}
	if err := <-played; err != nil {
		t.Error(err)
	}
	if a, b := <-got, <-got; a != 20 || b != 20 {
		t.Errorf("got %d and %d frames, want 20 and 20", a, b)
	}
}

func TestPlayRefuses(t *testing.T) {
	for want, c := range map[string]cli.Play{
		"--speed: expected":   {Log: "x"},
		"no such file":        {Log: "none.log", Speed: 1},
		"--start x: expected": {Log: "x", Speed: 1, Start: "x"},
	} {
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
