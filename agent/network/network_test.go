package network_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/network"
	hal "telltale.dev/hal/network"
	"telltale.dev/hal/network/networktest"
	"telltale.dev/protocol"
)

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name             string
		metered, roaming network.Limit
		state            hal.State
		want             network.Limit
		lowest           protocol.Priority
	}{
		{"ethernet", network.None, network.None, hal.State{Type: hal.Ethernet}, network.All, protocol.PriorityUnset},
		{"metered", network.Urgent, network.None, hal.State{Type: hal.Cellular, Metered: true}, network.Urgent, protocol.CS4},
		{"metered, all", network.All, network.None, hal.State{Type: hal.Cellular, Metered: true}, network.All, protocol.PriorityUnset},
		{"roaming", network.All, network.Urgent, hal.State{Type: hal.Cellular, Roaming: true}, network.Urgent, protocol.CS4},
		{"both, roaming narrower", network.Urgent, network.None, hal.State{Type: hal.Cellular, Metered: true, Roaming: true}, network.None, protocol.CS6 + 1},
		{"both, metered narrower", network.None, network.All, hal.State{Type: hal.Cellular, Metered: true, Roaming: true}, network.None, protocol.CS6 + 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &networktest.Fake{}
				f.Set(test.state)
				told := make(chan protocol.Priority, 10)
				w, err := network.New(network.Config{Monitor: f, Metered: test.metered, Roaming: test.roaming, Hold: func(p protocol.Priority) { told <- p }})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { w.Run(ctx); close(ended) }()
				if got := <-told; got != test.lowest {
					t.Errorf("got lowest %v, want %v", got, test.lowest)
				}
				if state, limit := w.Status(); state != test.state || limit != test.want {
					t.Errorf("got %+v, %v, want %+v, %v", state, limit, test.state, test.want)
				}
				f.Set(hal.State{Type: hal.WiFi})
				if got := <-told; got != protocol.PriorityUnset {
					t.Errorf("on wifi: got lowest %v, want all to go", got)
				}
				cancel()
				<-ended
			})
		})
	}
}

// blind is a monitor that fails.
type blind struct{ asked int }

func (b *blind) Next(ctx context.Context, _ hal.State) (hal.State, error) {
	b.asked++
	return hal.State{}, errors.New("no link file")
}

// TestBlind: a link that cannot be looked at changes nothing, and is not asked in a hurry.
func TestBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blind{}
		w, err := network.New(network.Config{Monitor: b, Metered: network.None, Hold: func(protocol.Priority) { t.Error("told") }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.Run(ctx)
		if b.asked < 25 || b.asked > 35 {
			t.Errorf("asked %d times in a minute, want about 30", b.asked)
		}
	})
}

func TestLimitText(t *testing.T) {
	for _, l := range []network.Limit{network.All, network.Urgent, network.None} {
		var got network.Limit
		if err := got.UnmarshalText([]byte(l.String())); err != nil || got != l {
			t.Errorf("%v: got %v, %v", l, got, err)
		}
	}
	var l network.Limit
	if err := l.UnmarshalText([]byte("some")); err == nil || err.Error() != `limit "some": expected all, urgent or none` {
		t.Errorf("got %v", err)
	}
	if _, err := network.New(network.Config{Monitor: &blind{}}); err == nil {
		t.Error("expected an error without somebody to tell")
	}
}
