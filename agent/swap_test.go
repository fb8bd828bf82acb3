package agent_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/agent"
	"telltale.dev/agent/buffer"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/dbc"
)

// TestSwapPlan: while a car drives its plan is replaced by one that has the same signals at other places, again and
// again. Each frame is decoded, each sample of it is on disk once, and a plan that lacks what a campaign wants is refused.
func TestSwapPlan(t *testing.T) {
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
	cfg := configOf(t, data, hub)
	everything, grid := campaigns.Everything(), campaigns.Everything()
	grid.Metadata.ID = "speeds"
	grid.Spec.Signals = map[string]campaigns.SignalSelector{"speed": {Path: "can0.WHEEL_SPEEDS.*"}}
	cfg.Default = []campaigns.Campaign{everything, grid}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	wait(t, func() bool { return a.Status().Attached == 2 })

	ahead := plan(t, rav4)
	plans := []*dbc.Plan{plan(t, []source{rav4[1], rav4[0]}), ahead}
	without := plan(t, rav4[1:])
	if err := a.SwapPlan(without); err == nil || !strings.Contains(err.Error(), "spec.signals.speed.path") {
		t.Errorf("a plan without the campaign's signal: got %v", err)
	}
	raw := make([]int64, ahead.MaxSignals())
	var sent, samples uint64
	for i, b := range blocks(t, "rav4.log.zst", []string{"can0", "can1"}) {
		hub.Bus([]string{"can0", "can1"}[b.Bus]).Send(b.Frames)
		sent += uint64(len(b.Frames))
		for k := range b.Frames {
			layout, n := ahead.Decode(b.Bus, &b.Frames[k], raw)
			samples += uint64(n)
			if n > 0 && b.Bus == 0 && ahead.MessageName(layout) == "WHEEL_SPEEDS" {
				samples += uint64(n)
			}
		}
		if i%20 == 0 {
			if err := a.SwapPlan(plans[i/20%2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(t, func() bool { return a.Status().Received == sent })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	report, err := buffer.Inspect(filepath.Join(data, "buffer"))
	if err != nil {
		t.Fatal(err)
	}
	if boot := report.Boots[0]; boot.Received != sent || boot.Samples != samples || report.Waiting.Samples != samples {
		t.Errorf("got %d frames, %d samples, %d waiting; want %d, %d", boot.Received, boot.Samples, report.Waiting.Samples, sent, samples)
	}
}
