package agent_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/agent"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/network"
	"telltale.dev/agent/power"
	"telltale.dev/hal/canbus/virtual"
	halnetwork "telltale.dev/hal/network"
	"telltale.dev/hal/network/networktest"
	halpower "telltale.dev/hal/power"
	"telltale.dev/hal/power/powertest"
)

// TestIgnitionOff: within a second everything is sealed and on disk, and the agent ends as it is set to.
func TestIgnitionOff(t *testing.T) {
	dir := t.TempDir()
	hub, err := virtual.Listen(filepath.Join(dir, "hub"), virtual.Config{Buses: []string{"can0", "can1"}})
	if err != nil {
		t.Fatal(err)
	}
	hubCtx, stopHub := context.WithCancel(context.Background())
	hubEnded := make(chan struct{})
	go func() { _ = hub.Run(hubCtx); close(hubEnded) }()
	defer func() { stopHub(); <-hubEnded }()

	supply, way := powertest.NewFake(halpower.On), &networktest.Fake{}
	way.Set(halnetwork.State{Type: halnetwork.Cellular, Metered: true})
	cfg := configOf(t, filepath.Join(dir, "agent"), hub)
	cfg.Timing.CommitUrgent, cfg.Timing.CommitBulk = time.Hour, time.Hour
	cfg.Power = power.Config{Supply: supply, After: power.Stop, Window: 2 * time.Second}
	cfg.Network = network.Config{Monitor: way, Metered: network.Urgent}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(t.Context()) }()
	wait(t, func() bool { s := a.Status(); return s.Attached == 2 && s.Ignition == "on" && s.Upload == "urgent" })
	if err := a.Healthy(t.Context()); err != nil {
		t.Errorf("healthy: got %v", err)
	}

	var sent uint64
	for i, b := range blocks(t, "rav4.log.zst", []string{"can0", "can1"}) {
		hub.Bus([]string{"can0", "can1"}[b.Bus]).Send(b.Frames)
		if sent += uint64(len(b.Frames)); i == 10 {
			break
		}
	}
	wait(t, func() bool { return a.Status().Received == sent })
	if n := a.Status().Samples; n != 0 {
		t.Fatalf("%d samples are on disk before; the test shows nothing", n)
	}
	supply.Set(halpower.Off, 0)
	off := time.Now()
	wait(t, func() bool { s := a.Status(); return s.Samples > 0 && s.Waiting > 0 })
	took := time.Since(off)
	t.Logf("on disk %v after ignition off", took.Round(time.Millisecond))
	if took > 20*time.Second { // without the ignition it is an hour
		t.Errorf("on disk after %v, want a second", took)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, power.ErrStop) {
			t.Errorf("got %v, want ErrStop", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it runs on")
	}
	report, err := buffer.Inspect(filepath.Join(dir, "agent", "buffer"))
	if err != nil || report.Boots[0].Received != sent || report.Waiting.Samples != report.Boots[0].Samples {
		t.Errorf("got %+v, %v, want all of %d frames accounted for", report.Boots, err, sent)
	}
}
