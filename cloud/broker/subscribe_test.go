package broker_test

import (
	"fmt"
	"strings"
	"testing"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol/principal"
)

func TestWhoMaySubscribe(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device, operator := s.device("v", "d"), s.operator("anna")
	deep := strings.Repeat("+/", 30_000) + "#"
	cases := []struct {
		who    *raw
		filter string
		qos    byte
		want   byte
	}{
		{device, "v1/v/down/config/+", 1, 1},
		{device, "v1/v/down/config/campaigns", 0, 0},
		{device, "v1/v/down/fetch", 2, 1},
		{device, "v1/v/down/#", 1, 0x87},
		{device, "v1/v/down/config/#", 1, 0x87},
		{device, "v1/v/down/command/+/+/request", 1, 0x87},
		{device, "v1/+/down/config/+", 1, 0x87},
		{device, "v1/w/down/config/+", 1, 0x87},
		{device, "v1/v/up/#", 1, 0x87},
		{device, "#", 1, 0x87},
		{device, "v1/ops/#", 1, 0x87},
		{device, "$SYS/#", 1, 0x87},
		{device, "$share/g/v1/v/down/config/+", 1, 0x9E},
		{device, "v1/v#/down/fetch", 1, 0x8F},
		{device, "v1/#/down/fetch", 1, 0x8F},
		{device, deep[:60_001], 1, 0x8F},
		{operator, "v1/ops/#", 1, 1},
		{operator, "v1/ops/config/campaign/+/result", 1, 1},
		{operator, "v1/ops/reply/anna", 1, 1},
		{operator, "v1/ops/reply/anna/#", 1, 1},
		{operator, "v1/ops/reply/anna/7", 1, 1},
		{operator, "v1/ops/reply/ben", 1, 0x87},
		{operator, "v1/ops/reply/ben/#", 1, 0x87},
		{operator, "v1/ops/reply/+", 1, 0x87},
		{operator, "v1/ops/reply/#", 1, 0x87},
		{operator, "v1/ops/reply", 1, 0x87},
		{device, "v1/ops/reply/v", 1, 0x87},
		{operator, "v1/+/up/#", 1, 1},
		{operator, "v1/v/up/presence/+", 1, 1},
		{operator, "v1/+/down/#", 1, 1},
		{operator, "v1/+/+/#", 1, 0x87},
		{operator, "v1/+/#", 1, 0x87},
		{operator, "v1/#", 1, 0x87},
		{operator, "#", 1, 0x87},
		{operator, "v1/bcast/#", 1, 0x87},
		{operator, "$SYS/#", 1, 0x87},
		{operator, "$share/g/v1/ops/#", 1, 0x9E},
		{operator, "+/+/up", 1, 0x87},
	}
	for _, c := range cases {
		if got := c.who.subscribe(paho.SubOptions{Topic: c.filter, QoS: c.qos}); len(got) != 1 || got[0] != c.want {
			t.Errorf("%.40s: got %#x, want %#x", c.filter, got, c.want)
		}
	}
	if got := s.Stats().RefusedSubscriptions; got[0x9E] != 2 || got[0x8F] != 3 {
		t.Errorf("refused subscriptions: got %v", got)
	}
}

func TestSubscriptionsOfOneSessionAreBounded(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.operator("anna")
	for i := range 130 {
		want := byte(1)
		if i >= 128 {
			want = 0x97
		}
		if got := r.subscribe(paho.SubOptions{Topic: fmt.Sprintf("v1/v%d/up/#", i), QoS: 1}); got[0] != want {
			t.Errorf("subscription %d: got %#x, want %#x", i, got[0], want)
		}
	}
	if got := r.subscribe(paho.SubOptions{Topic: "v1/v0/up/#", QoS: 0}); got[0] != 0 {
		t.Errorf("again: got %#x, want 0", got[0])
	}
}

func TestUnsubscribe(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.operator("anna")
	r.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1})
	r.send(paho.UNSUBSCRIBE, &paho.Unsubscribe{PacketID: 4, Topics: []string{"v1/+/up/#", "v1/ops/#"}, Properties: &paho.Properties{}})
	ack := r.read().Content.(*paho.Unsuback)
	if ack.PacketID != 4 || ack.Reasons[0] != 0 || ack.Reasons[1] != 0x11 {
		t.Errorf("unsuback: got %v", ack)
	}
	s.Deliver(broker.Message{Topic: "v1/v/up/telemetry/c", QoS: 1})
	r.silent()
	if got := s.Subscriptions(); got != 0 {
		t.Errorf("subscriptions: got %d, want 0", got)
	}
}

func retainedCloud() *cloud {
	return &cloud{retained: func(filter string) []broker.Message {
		return []broker.Message{
			{Topic: "v1/a/up/presence/d", Payload: []byte("first of " + filter), QoS: 1},
			{Topic: "v1/b/up/presence/d", Payload: []byte("second"), QoS: 0},
		}
	}}
}

func TestRetainHandling(t *testing.T) {
	s := start(t, retainedCloud(), nil)
	const filter = "v1/+/up/presence/+"
	cases := []struct {
		name     string
		handling byte
		twice    bool
		want     int
	}{
		{"always, new", 0, false, 2},
		{"always, again", 0, true, 2},
		{"if new, new", 1, false, 2},
		{"if new, again", 1, true, 0},
		{"never, new", 2, false, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := s.operator("anna")
			if c.twice {
				r.subscribe(paho.SubOptions{Topic: filter, QoS: 1, RetainHandling: 2})
			}
			r.subscribe(paho.SubOptions{Topic: filter, QoS: 1, RetainHandling: c.handling})
			for i := range c.want {
				p := r.message()
				if !p.Retain || p.QoS != byte(1-i) {
					t.Errorf("message %d: got retain %v QoS %d, want retain, QoS %d", i, p.Retain, p.QoS, 1-i)
				}
			}
			r.alive()
		})
	}
}

func TestRetainAsPublished(t *testing.T) {
	s := start(t, &cloud{}, nil)
	plain, asked := s.operator("anna"), s.operator("ben")
	plain.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1})
	asked.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1, RetainAsPublished: true})
	for _, retain := range []bool{true, false} {
		s.Deliver(broker.Message{Topic: "v1/v/up/presence/d", Retain: retain, QoS: 1})
		if got := plain.message().Retain; got {
			t.Errorf("published with %v: got retain without asking", retain)
		}
		if got := asked.message().Retain; got != retain {
			t.Errorf("published with %v: got %v", retain, got)
		}
	}
}

// TestRetainedNeverFollowsNewer delivers a newer state while the retained ones are
// being collected: it must arrive after them.
func TestRetainedNeverFollowsNewer(t *testing.T) {
	var s *stage
	handler := &cloud{retained: func(string) []broker.Message {
		old := []broker.Message{{Topic: "v1/a/up/presence/d", Payload: []byte("old"), QoS: 1}}
		s.Deliver(broker.Message{Topic: "v1/a/up/presence/d", Payload: []byte("new"), QoS: 1})
		return old
	}}
	s = start(t, handler, nil)
	r := s.operator("anna")
	r.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1})
	for _, want := range []string{"old", "new"} {
		if got := string(r.message().Payload); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestManyRetainedFitAnyQueue: they are outside its bounds, and keep to the receive maximum.
func TestManyRetainedFitAnyQueue(t *testing.T) {
	const n = 1000
	handler := &cloud{retained: func(string) []broker.Message {
		all := make([]broker.Message, n)
		for i := range all {
			all[i] = broker.Message{Topic: fmt.Sprintf("v1/v%d/up/presence/d", i), Payload: []byte("x"), QoS: 1}
		}
		return all
	}}
	s := start(t, handler, func(c *broker.Config) { c.QueueMessages = 5 })
	r := s.operator("anna")
	r.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1})
	for i := range n {
		p := r.message()
		if want := fmt.Sprintf("v1/v%d/up/presence/d", i); p.Topic != want {
			t.Fatalf("got %s, want %s", p.Topic, want)
		}
		r.acknowledge(p.PacketID)
	}
	if got := s.Stats(); got.CutSessions != 0 || got.Queued != 0 {
		t.Errorf("stats: got %d cut, %d queued, want none", got.CutSessions, got.Queued)
	}
}

func TestNoLocal(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	handler.publish = func(p broker.Publish, done func(byte)) {
		s.Deliver(broker.Message{Topic: p.Topic.String(), Payload: p.Payload, QoS: 1, From: p.Client.Connection})
		done(0)
	}
	anna, ben := s.operator("anna"), s.operator("ben")
	anna.subscribe(paho.SubOptions{Topic: "v1/ops/#", QoS: 1, NoLocal: true})
	ben.subscribe(paho.SubOptions{Topic: "v1/ops/#", QoS: 1, NoLocal: true})
	if got := anna.publish(1, "v1/ops/config/campaign/c", "x"); got != 0 {
		t.Fatalf("got %#x", got)
	}
	ben.message()
	anna.silent()
}

func TestOverlappingSubscriptionsDeliverOnce(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.operator("anna")
	for i, o := range []paho.SubOptions{{Topic: "v1/+/up/#", QoS: 0}, {Topic: "v1/v/up/telemetry/c", QoS: 1}} {
		r.send(paho.SUBSCRIBE, &paho.Subscribe{PacketID: 1, Subscriptions: []paho.SubOptions{o},
			Properties: &paho.Properties{SubscriptionIdentifier: ptr(i + 1)}})
		r.read()
	}
	s.Deliver(broker.Message{Topic: "v1/v/up/telemetry/c", QoS: 1})
	p := r.message()
	if p.QoS != 1 || p.Properties.SubscriptionIdentifier == nil {
		t.Errorf("got QoS %d, identifier %v, want QoS 1 and an identifier", p.QoS, p.Properties.SubscriptionIdentifier)
	}
	r.acknowledge(p.PacketID)
	r.alive()
	s.Deliver(broker.Message{Topic: "v1/v/up/presence/d", QoS: 1})
	if p := r.message(); p.QoS != 0 || *p.Properties.SubscriptionIdentifier != 1 {
		t.Errorf("got QoS %d, identifier %d, want 0 and 1", p.QoS, *p.Properties.SubscriptionIdentifier)
	}
}

// matchPlain is section 4.7 of the standard, level by level.
func matchPlain(filter, topic []string) bool {
	switch {
	case len(filter) == 0:
		return len(topic) == 0
	case filter[0] == "#":
		return true
	case len(topic) == 0:
		return false
	}
	return (filter[0] == "+" || filter[0] == topic[0]) && matchPlain(filter[1:], topic[1:])
}

func FuzzTree(f *testing.F) {
	f.Add("v1/+/up/#\nv1/v/up/telemetry/c\nv1/ops/#", "v1/v/up/telemetry/c")
	f.Add("#\n+\n+/#\na/+", "a")
	f.Add("a/#\na/b/#\na\n/+", "a/b")
	f.Fuzz(func(t *testing.T, text, topic string) {
		var all []string
		for filter := range strings.SplitSeq(text, "\n") {
			if broker.WellFormed(filter) && len(all) < 20 && strings.Count(filter, "/") < 10 {
				all = append(all, filter)
			}
		}
		if strings.ContainsAny(topic, "+#") || strings.Count(topic, "/") > 10 {
			return
		}
		got, left := broker.Tree(all, topic)
		for i, filter := range all {
			if want := matchPlain(strings.Split(filter, "/"), strings.Split(topic, "/")); got[i] != want {
				t.Errorf("%q on %q: got %v, want %v", filter, topic, got[i], want)
			}
			if one := broker.Match(filter, topic); one != got[i] {
				t.Errorf("Match(%q, %q): got %v, the tree says %v", filter, topic, one, got[i])
			}
		}
		if left != 0 {
			t.Errorf("%d nodes left after removing every subscription", left)
		}
	})
}

// FuzzFilter: whatever a device may subscribe stays within its own vehicle.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"v1/v/down/config/+", "v1/v/down/fetch", "v1/+/down/fetch", "v1/v/down/config/#", "$share/g/x", "#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		if broker.FilterCode(principal.OfDevice("v", "d"), filter) != 0 {
			return
		}
		if !strings.HasPrefix(filter, "v1/v/down/") || strings.Contains(filter, "#") || matchPlain(strings.Split(filter, "/"), strings.Split("v1/w/down/fetch", "/")) {
			t.Errorf("a device may subscribe %q", filter)
		}
	})
}

// TestAnswersGoToTheirOperator: whatever others have subscribed to.
func TestAnswersGoToTheirOperator(t *testing.T) {
	s := start(t, &cloud{}, nil)
	anna, ben := s.operator("anna"), s.operator("ben")
	for _, r := range []*raw{anna, ben} {
		r.subscribe(paho.SubOptions{Topic: "v1/ops/#", QoS: 1})
	}
	s.Deliver(broker.Message{Topic: "v1/ops/reply/anna/7", Payload: []byte("x"), Correlation: []byte{0, 7}, QoS: 1})
	if p := anna.message(); p.Topic != "v1/ops/reply/anna/7" || string(p.Properties.CorrelationData) != "\x00\x07" {
		t.Errorf("got %v, want the answer with its correlation data", p)
	}
	ben.alive()
}
