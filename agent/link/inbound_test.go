package link_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"go.uber.org/goleak"

	"telltale.dev/agent/link"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// The test binary is also the child process of TestKilledBeforeTheTaker.
const envInbox = "TELLTALE_LINK_INBOX"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envInbox); dir != "" {
		fmt.Println(childTakesNothing(dir, os.Args[1]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// takes gives a link one route for documents of any name.
func takes(t *testing.T, c *link.Config, take func(downlink.Message)) {
	t.Helper()
	c.Inbox = t.TempDir()
	c.Routes = []downlink.Route{{Kind: topics.Config, Take: func(_ context.Context, m downlink.Message) { take(m) }}}
}

// acknowledged are the PUBACKs of the client so far.
func (s *server) acknowledged() []puback {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pubacks)
}

// TestNobodyTakes: without a route nothing is subscribed, and nothing is acknowledged with success.
func TestNobodyTakes(t *testing.T) {
	var s *server
	s = serve(t, &server{answer: func(p publish) byte {
		if p.topic.Kind == topics.Presence { // it was not asked for
			s.mu.Lock()
			c := s.conns[0]
			s.mu.Unlock()
			c.send(&packets.Publish{Topic: "v1/veh-1/down/config/campaigns", QoS: 1, PacketID: 1, Properties: &packets.Properties{}})
		}
		return 0
	}}, nil)
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "acknowledged", func() bool { return len(s.acknowledged()) == 1 })
	if got := s.acknowledged()[0]; got.code != 0x83 || len(s.filters) != 0 || r.Stats().Down.Refused != 1 {
		t.Errorf("got %#x, %d filters, %+v; want 0x83 and none", got.code, len(s.filters), r.Stats().Down)
	}
}

// TestInbound: while the campaigns of a document are compiled for long, other messages are acknowledged in their order and
// taken at once, with their properties; what nobody takes is refused.
func TestInbound(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{subscribed: func(c *serverConn) {
		expiry := uint32(5)
		for i, topic := range []string{
			"v1/veh-1/down/config/campaigns", "v1/other/down/config/campaigns", "v1/veh-1/down/config/policy",
			"v1/veh-1/down/command/doors.unlock/e1/request", "v1/veh-1/down/fetch", "v1/veh-1/up/state", "nonsense",
		} {
			p := &packets.Publish{Topic: topic, QoS: 1, PacketID: uint16(i + 1), Payload: []byte(topic), Properties: &packets.Properties{}}
			if strings.Contains(topic, "command") {
				p.Properties = &packets.Properties{
					MessageExpiry: &expiry, CorrelationData: []byte("e1"), ResponseTopic: "v1/ops/reply/x", ContentType: "application/x",
					User: []packets.User{{Key: "pr", Value: "CS4"}, {Key: "tp", Value: "00-1"}},
				}
			}
			c.send(p)
		}
	}}, nil)
	release, compiled, urgent := make(chan struct{}), make(chan struct{}), make(chan downlink.Message, 1)
	buf := newMemory()
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints, c.Inbox = []string{"mqtt://" + s.addr}, t.TempDir()
		c.Routes = []downlink.Route{
			{Kind: topics.Config, Name: "campaigns", Take: func(context.Context, downlink.Message) { <-release; close(compiled) }},
			{Kind: topics.CommandRequest, Mode: downlink.Each, Take: func(_ context.Context, m downlink.Message) { urgent <- m }},
		}
	})
	select {
	case m := <-urgent:
		if m.Topic.Name != "doors.unlock" || m.Topic.ID != "e1" || string(m.Correlation) != "e1" || m.Response != "v1/ops/reply/x" ||
			m.ContentType != "application/x" || !m.Expires || m.Expiry != 5*time.Second || time.Since(m.Received) > 10*time.Second ||
			len(m.User) != 2 || m.User[0].Value != "CS4" || m.QoS != 1 {
			t.Errorf("got %+v", m)
		}
	case <-time.After(patience):
		t.Fatal("the urgent message waits for the compiler")
	}
	// Success only for what somebody takes: 0x83 for an unknown document, 0x90 for a kind that nobody asked for.
	want := []puback{{1, 0}, {2, 0x90}, {3, 0x83}, {4, 0}, {5, 0x90}, {6, 0x90}, {7, 0x90}}
	eventually(t, "acknowledged", func() bool { return len(s.acknowledged()) == len(want) })
	if got := s.acknowledged(); !slices.Equal(got, want) {
		t.Errorf("acknowledgements: got %v, want %v", got, want)
	}
	buf.add(numbered("r", 5, protocol.CS3)...)
	eventually(t, "records pass", func() bool { return buf.left() == 0 })
	if got := r.Stats().Down; got.Received != 2 || got.Refused != 5 || got.Waiting != 1 {
		t.Errorf("stats: got %+v, want the campaigns waiting", got)
	}
	close(release)
	<-compiled
	if want := []string{"v1/veh-1/down/config/+", "v1/veh-1/down/command/+/+/request"}; !slices.Equal(s.filters, want) {
		t.Errorf("subscribed: got %v, want %v", s.filters, want)
	}
}

// TestManyUserProperties: a packet full of user properties costs no more memory than one that is just refused.
func TestManyUserProperties(t *testing.T) {
	p := &packets.Publish{Properties: &packets.Properties{User: make([]packets.User, 50_000)}}
	if got := cap(link.MessageOf(p, time.Now()).User); got <= downlink.MaxUser || got > 2*downlink.MaxUser {
		t.Errorf("got room for %d properties, want a few more than %d", got, downlink.MaxUser)
	}
}

// killed is a link of which only the inbox counts.
func killed(addr, dir string, take func(context.Context, downlink.Message)) (*link.Link, error) {
	return link.New(link.Config{
		Endpoints: []string{"mqtt://" + addr}, Vehicle: vid, Device: did, Boot: boot, PowerJitter: -1,
		Buffer: newMemory(), Schemas: schemas{}, Inbox: dir,
		Routes: []downlink.Route{
			{Kind: topics.Config, Take: take}, {Kind: topics.CommandRequest, Mode: downlink.Each, Take: take},
		},
	})
}

// childTakesNothing receives until it is killed.
func childTakesNothing(dir, addr string) error {
	l, err := killed(addr, dir, func(context.Context, downlink.Message) { select {} })
	if err != nil {
		return err
	}
	return l.Run(context.Background())
}

// TestKilledBeforeTheTaker: a process that is killed after the PUBACK and before anybody has looked takes the message at
// its next start, also without a connection; but not one whose expiry has passed meanwhile.
func TestKilledBeforeTheTaker(t *testing.T) {
	t.Parallel()
	long, short := uint32(3600), uint32(1)
	s := serve(t, &server{subscribed: func(c *serverConn) {
		for i, p := range []*packets.Publish{
			{Topic: "v1/veh-1/down/config/campaigns", Payload: []byte("document"), Properties: &packets.Properties{}},
			{Topic: "v1/veh-1/down/command/doors.unlock/e1/request", Payload: []byte("in time"), Properties: &packets.Properties{MessageExpiry: &long, CorrelationData: []byte("e1")}},
			{Topic: "v1/veh-1/down/command/doors.unlock/e2/request", Payload: []byte("too late"), Properties: &packets.Properties{MessageExpiry: &short}},
		} {
			p.QoS, p.PacketID = 1, uint16(i+1)
			c.send(p)
		}
	}}, nil)
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], s.addr)
	var output bytes.Buffer
	child.Env, child.Stdout, child.Stderr = append(os.Environ(), envInbox+"="+dir), &output, &output
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all acknowledged", func() bool { return len(s.acknowledged()) == 3 })
	received := time.Now()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	if got, want := s.acknowledged(), []puback{{1, 0}, {2, 0}, {3, 0}}; !slices.Equal(got, want) {
		t.Fatalf("acknowledgements: got %v, want %v\n%s", got, want, &output)
	}
	time.Sleep(time.Until(received.Add(1100 * time.Millisecond))) // the expiry is in whole seconds

	taken := make(chan downlink.Message, 3)
	l, err := killed(freePort(t), dir, func(_ context.Context, m downlink.Message) { taken <- m })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	eventually(t, "all are dealt with", func() bool { st := l.Stats().Down; return st.Waiting == 0 && len(taken) == 2 })
	cancel()
	<-ended
	var got []string
	for range 2 {
		m := <-taken
		got = append(got, string(m.Payload)+string(m.Correlation))
	}
	slices.Sort(got)
	if want := []string{"document", "in timee1"}; !slices.Equal(got, want) || l.Stats().Down.Expired != 1 {
		t.Errorf("got %q and %d expired, want %q and one", got, l.Stats().Down.Expired, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("inbox: got %v, %v, want it empty", left, err)
	}
}
