package agent_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"telltale.dev/agent"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/campaigns"

	"telltale.dev/protocol/can"
)

// filtering is a bus that remembers its filters.
type filtering struct {
	canbus.Bus
	mu      sync.Mutex // guards filters
	filters []can.Filter
	set     int
}

func (*filtering) MaxFilters() int { return 512 }

func (f *filtering) SetFilters(list []can.Filter) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filters = slices.Clone(list)
	f.set++
	return nil
}

// TestDriversKeepAwayWhatNoCampaignWants: each bus gets the filters of its own
// messages, and one that nobody wants anything of an empty list.
func TestDriversKeepAwayWhatNoCampaignWants(t *testing.T) {
	hub, err := virtual.Listen(filepath.Join(t.TempDir(), "hub"), virtual.Config{Buses: []string{"can0", "can1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hubEnded := make(chan struct{})
	go func() { _ = hub.Run(ctx); close(hubEnded) }()
	defer func() { cancel(); <-hubEnded }()

	speed := campaigns.Everything()
	speed.Spec.Signals = map[string]campaigns.SignalSelector{"speed": {Path: "can0.SPEED.*"}, "gear": {Path: "can0.GEAR_PACKET.GEAR"}}
	for name, c := range map[string]struct {
		campaigns []campaigns.Campaign
		want      [2][]can.Filter
	}{
		"nothing":    {nil, [2][]can.Filter{{}, {}}},
		"everything": {[]campaigns.Campaign{campaigns.Everything()}, [2][]can.Filter{nil, nil}},
		"two messages of one bus": {[]campaigns.Campaign{speed},
			[2][]can.Filter{{can.ExactFilter(0xB4), can.ExactFilter(0x3BC)}, {}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configOf(t, t.TempDir(), hub)
			cfg.Default = c.campaigns
			buses := [2]*filtering{{}, {}}
			for i := range cfg.Inputs {
				open := cfg.Inputs[i].Open
				cfg.Inputs[i].Open = func(ctx context.Context) (canbus.Bus, error) {
					bus, err := open(ctx)
					buses[i].Bus = bus
					return canbus.Restrict("can", buses[i], canbus.Permission{}), err
				}
			}
			a, err := agent.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			running, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- a.Run(running) }()
			wait(t, func() bool { return a.Status().Attached == 2 })
			for i, b := range buses {
				b.mu.Lock()
				if b.set != 1 || (b.filters == nil) != (c.want[i] == nil) || !slices.Equal(b.filters, c.want[i]) {
					t.Errorf("can%d: got %v, set %d times; want %v", i, b.filters, b.set, c.want[i])
				}
				b.mu.Unlock()
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
