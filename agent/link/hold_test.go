package link_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/link"
	"telltale.dev/protocol"
)

// each adds one record of each class.
func each(name string, buf *memory) {
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		buf.add(numbered(name+"-"+class.String(), 1, class)...)
	}
}

// classes gives those of the records that came of each.
func classes(got []publish, name string) []string {
	var list []string
	for _, p := range payloads(got) {
		if rest, ok := strings.CutPrefix(p, name+"-"); ok {
			list = append(list, strings.TrimSuffix(rest, "-0"))
		}
	}
	slices.Sort(list)
	return list
}

// What is held stays in the buffer, whether it waited already or comes later,
// and goes when it may: nothing is lost.
func TestHold(t *testing.T) {
	t.Parallel()
	all := []string{"CS0", "CS1", "CS2", "CS3", "CS4", "CS5", "CS6"}
	for name, test := range map[string]struct {
		lowest protocol.Priority
		want   []string
	}{
		"all":    {protocol.PriorityUnset, all},
		"urgent": {protocol.CS4, all[4:]},
		"none":   {protocol.CS6 + 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{})
			s := serve(t, &server{connack: func(int, *packets.Connect, *packets.Connack) { <-told }}, nil)
			buf := newMemory()
			each("old", buf)
			r := start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
			r.Hold(test.lowest)
			close(told)
			if r.Stats().Lowest != test.lowest {
				t.Errorf("stats: got %v, want %v", r.Stats().Lowest, test.lowest)
			}
			eventually(t, "connection", func() bool { return r.Stats().Connected })
			each("live", buf)
			time.Sleep(200 * time.Millisecond)
			for _, kind := range []string{"old", "live"} {
				if got := classes(s.received(), kind); !slices.Equal(got, test.want) {
					t.Errorf("%s: got %v, want %v", kind, got, test.want)
				}
			}
			r.Hold(protocol.PriorityUnset)
			eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
			if got := classes(s.received(), "live"); !slices.Equal(got, all) {
				t.Errorf("afterwards: got %v, want each class once", got)
			}
		})
	}
}

// Records that wait for a retry are held as well, and do not stand in the way of urgent ones.
func TestHoldOfRetries(t *testing.T) {
	t.Parallel()
	var refusing atomic.Bool
	refusing.Store(true)
	s := serve(t, &server{answer: func(p publish) byte {
		if refusing.Load() && strings.HasPrefix(string(p.payload), "hot") {
			return 0x83 // try later
		}
		return 0
	}}, nil)
	buf := newMemory()
	buf.add(numbered("hot", 100, protocol.CS3)...)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + s.addr}
		c.BackoffMin, c.BackoffMax = 100*time.Millisecond, time.Second
	})
	eventually(t, "refused records", func() bool { return r.Stats().Retried >= 32 })
	r.Hold(protocol.CS4)
	refusing.Store(false)
	time.Sleep(50 * time.Millisecond) // what was under way
	buf.add(numbered("urgent", 5, protocol.CS4)...)
	eventually(t, "urgent records", func() bool { return complete(s.received(), "urgent-4") })
	before := len(payloads(s.received()))
	time.Sleep(400 * time.Millisecond) // longer than the waits for the retries
	if after := len(payloads(s.received())); after != before {
		t.Errorf("%d records came though they are held", after-before)
	}
	r.Hold(protocol.PriorityUnset)
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
}
