package agent_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/agent"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/campaigns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configOf is an agent of the RAV4 whose broker does not answer.
func configOf(t *testing.T, data string, hub *virtual.Hub) agent.Config {
	t.Helper()
	p := plan(t, rav4)
	cfg := agent.Config{
		Data: data, Vehicle: "car", Device: "tcu", Version: "test", Plan: p,
		Endpoints: []string{"mqtt://127.0.0.1:1"}, Drain: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
		Default: []campaigns.Campaign{campaigns.Everything()},
		Timing:  agent.Timing{BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond},
	}
	for _, name := range []string{"can0", "can1"} {
		cfg.Inputs = append(cfg.Inputs, frames.Input{Name: name, Open: func(ctx context.Context) (canbus.Bus, error) {
			return virtual.Dial(ctx, hub.URL(name))
		}})
	}
	return cfg
}

// TestStopOffline: a stop without a network is quick, and everything that was
// received is on disk, sealed and accounted for.
func TestStopOffline(t *testing.T) {
	dir := t.TempDir()
	hub, err := virtual.Listen(filepath.Join(dir, "hub"), virtual.Config{Buses: []string{"can0", "can1"}})
	if err != nil {
		t.Fatal(err)
	}
	hubCtx, stopHub := context.WithCancel(context.Background())
	hubEnded := make(chan struct{})
	go func() { _ = hub.Run(hubCtx); close(hubEnded) }()
	defer func() { stopHub(); <-hubEnded }()

	data := filepath.Join(dir, "agent")
	a, err := agent.New(configOf(t, data, hub))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	wait(t, func() bool { return a.Status().Attached == 2 })

	p := plan(t, rav4)
	raw := make([]int64, p.MaxSignals())
	var sent, decoded, samples uint64
	for _, b := range blocks(t, "rav4.log.zst", []string{"can0", "can1"}) {
		hub.Bus([]string{"can0", "can1"}[b.Bus]).Send(b.Frames)
		sent += uint64(len(b.Frames))
		for i := range b.Frames {
			if layout, n := p.Decode(b.Bus, &b.Frames[i], raw); layout != -1 {
				decoded++
				samples += uint64(n)
			}
		}
	}
	wait(t, func() bool { return a.Status().Received == sent })
	began := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the stop took %v, though nobody is there to send to", took)
	}
	report, err := buffer.Inspect(filepath.Join(data, "buffer"))
	if err != nil {
		t.Fatal(err)
	}
	boot := report.Boots[0]
	if boot.Received != sent || boot.Decoded != decoded || boot.Unknown != sent-decoded || boot.Samples != samples {
		t.Errorf("got %+v, want %d frames, %d decoded, %d samples", boot, sent, decoded, samples)
	}
	if report.Waiting.Samples != samples || report.Waiting.Records != boot.NextSeq-1 {
		t.Errorf("got %+v waiting, want %d samples in %d records", report.Waiting, samples, boot.NextSeq-1)
	}
}

func wait(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s")
		}
	}
}

// TestNewErrors: a folder that cannot be used is one clear line without its path.
func TestNewErrors(t *testing.T) {
	hub, err := virtual.Listen(filepath.Join(t.TempDir(), "hub"), virtual.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	tests := []struct {
		name string
		prep func(t *testing.T, dir string, cfg *agent.Config)
		want string
	}{
		{"locked", func(t *testing.T, dir string, _ *agent.Config) {
			b, err := buffer.Open(buffer.Config{Dir: filepath.Join(dir, "buffer"), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
		}, "process"},
		{"another version", func(t *testing.T, dir string, _ *agent.Config) {
			write(t, filepath.Join(dir, "buffer", "VERSION"), "telltale-buffer 9\n")
		}, "version"},
		{"a file where a folder should be", func(t *testing.T, dir string, _ *agent.Config) {
			write(t, filepath.Join(dir, "schemas"), "")
		}, "schema folder"},
		{"default of another vehicle", func(_ *testing.T, _ string, cfg *agent.Config) {
			c := campaigns.Everything()
			c.Spec.Signals = map[string]campaigns.SignalSelector{"x": {Path: "can7.*.*"}}
			cfg.Default = []campaigns.Campaign{c}
		}, "spec.signals.x.path"},
		{"no endpoint", func(_ *testing.T, _ string, cfg *agent.Config) { cfg.Endpoints = nil }, "endpoint"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := configOf(t, dir, hub)
			test.prep(t, dir, &cfg)
			a, err := agent.New(cfg)
			if a != nil || err == nil {
				t.Fatal("expected an error")
			}
			if text := err.Error(); !strings.Contains(text, test.want) || strings.Contains(text, "\n") || strings.Contains(text, dir) {
				t.Errorf("got %q, want one line with %q and no path", text, test.want)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
