package link_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

func TestRecordsArriveWithTheirProperties(t *testing.T) {
	s := serve(t, &server{connack: func(_ int, _ *packets.Connect, ca *packets.Connack) {
		ca.Properties.User = []packets.User{{Key: "guarantee", Value: "stored"}}
	}}, nil)
	buf := newMemory()
	buf.add(buffer.Record{Payload: []byte("a"), Priority: protocol.CS4, Purpose: "research", Created: time.Now().Add(-time.Minute), TTL: time.Hour})
	r := start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "the record is acknowledged", func() bool { return buf.left() == 0 })

	got := s.received()
	if got[0].topic.Kind != topics.Presence || !got[0].retain {
		t.Errorf("first publish: got %v (retain %v), want a retained birth", got[0].topic, got[0].retain)
	}
	p := got[1]
	if p.user["pr"] != "CS4" || p.user["pu"] != "research" || p.user["id"] != "tcu-1.0102030405060708.1" {
		t.Errorf("user properties: got %v", p.user)
	}
	if p.properties.ContentType != protocol.ContentTelemetry {
		t.Errorf("content type: got %q", p.properties.ContentType)
	}
	if e := p.properties.MessageExpiry; e == nil || *e < 3530 || *e > 3540 {
		t.Errorf("message expiry: got %v, want 59 minutes", e)
	}
	st := r.Stats()
	if !st.Connected || st.Acked != 1 || st.Guarantee != "stored" || st.Endpoint != s.addr || st.PayloadBytes == 0 {
		t.Errorf("stats: got %+v", st)
	}
	if n := r.log.count("guarantee ends"); n != 0 {
		t.Errorf("warnings about the guarantee: got %d, want 0", n)
	}
}

func TestWillAndBirthCarryRisingConnectionNumbers(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{}, nil)
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	for n := range 3 {
		eventually(t, "birth", func() bool { return len(presences(t, s.received())) == n+1 })
		s.cut()
	}
	eventually(t, "fourth birth", func() bool { return len(presences(t, s.received())) == 4 })
	r.stop()

	all := presences(t, s.received())
	for i, birth := range all[:4] {
		c := s.connects[i]
		will := parsePresence(t, c.WillMessage)
		want := protocol.Presence{Version: 1, State: protocol.PresenceLost, Device: did, Boot: boot, Connection: uint64(i + 1), Agent: "test"}
		if will != want {
			t.Errorf("will: got %+v, want %+v", will, want)
		}
		if c.WillTopic != "v1/veh-1/up/presence/tcu-1" || c.WillQOS != 1 || !c.WillRetain || *c.WillProperties.WillDelayInterval != 1 {
			t.Errorf("will %d: topic %q QoS %d retain %v", i, c.WillTopic, c.WillQOS, c.WillRetain)
		}
		if c.CleanStart || c.ClientID != string(did) || *c.Properties.SessionExpiryInterval != 30 || *c.Properties.ReceiveMaximum != 16 || c.KeepAlive != 5 {
			t.Errorf("connect %d: got %+v", i, c)
		}
		if birth.State != protocol.PresenceOnline || birth.Connection != uint64(i+1) {
			t.Errorf("birth %d: got %+v", i, birth)
		}
	}
	if last := all[len(all)-1]; last.State != protocol.PresenceOffline || last.Connection != 4 {
		t.Errorf("last presence: got %+v, want offline", last)
	}
	s.close()
	if !slices.Equal(s.goodbyes, []byte{0}) {
		t.Errorf("disconnects: got %v, want one normal", s.goodbyes)
	}
}

func TestAsleepIsAnnounced(t *testing.T) {
	s := serve(t, &server{}, nil)
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "birth", func() bool { return len(s.received()) == 1 })
	wakes := time.UnixMilli(1_800_000_000_000)
	r.Asleep(wakes)
	r.stop()
	all := presences(t, s.received())
	if last := all[len(all)-1]; last.State != protocol.PresenceAsleep || last.WakesAt != wakes.UnixMilli() {
		t.Errorf("last presence: got %+v, want asleep", last)
	}
}

func TestGracefulStopWaitsForAcknowledgements(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serve(t, &server{answer: func(p publish) byte {
		if string(p.payload) == "slow-0" {
			<-release
		}
		return 0
	}}, nil)
	buf := newMemory()
	r := start(t, buf, func(c *link.Config) { c.Endpoints, c.DrainTime = []string{"mqtt://" + s.addr}, 5*time.Second })
	buf.add(numbered("slow", 1, protocol.CS3)...)
	eventually(t, "record under way", func() bool { return complete(s.received(), "slow-0") })
	time.AfterFunc(1200*time.Millisecond, func() { close(release) }) // longer than the wait for the farewell
	r.stop()
	if n := buf.left(); n != 0 {
		t.Errorf("records left: got %d, want 0", n)
	}
}

func TestLossInMidWindowLosesNothing(t *testing.T) {
	t.Parallel()
	var s *server
	var count atomic.Int64
	s = serve(t, &server{
		connack: func(_ int, _ *packets.Connect, ca *packets.Connack) {
			ca.Properties.TopicAliasMaximum = ptr(uint16(4))
			ca.Properties.ReceiveMaximum = ptr(uint16(8))
		},
		answer: func(p publish) byte {
			n := count.Add(1)
			if n%37 == 0 {
				s.mu.Lock()
				s.conns[p.connection-1].Close()
				s.mu.Unlock()
			}
			if n%3 == 0 {
				return noAnswerLater(s, p)
			}
			return 0
		},
	}, nil)
	buf := newMemory()
	const records = 400
	var names []string
	for i, rec := range numbered("r", records, protocol.CS3) {
		rec.Topic = fmt.Sprintf("v1/veh-1/up/telemetry/c%d", i%7) // more topics than aliases
		buf.add(rec)
		names = append(names, string(rec.Payload))
	}
	r := start(t, buf, func(c *link.Config) { c.Endpoints, c.Window = []string{"mqtt://" + s.addr}, 32 })
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	r.stop()
	got := s.received()
	if !complete(got, names...) {
		t.Error("records are missing")
	}
	aliased := 0
	for _, p := range got {
		if i := slices.Index(names, string(p.payload)); i >= 0 && p.topic.Campaign != protocol.CampaignID(fmt.Sprintf("c%d", i%7)) {
			t.Fatalf("record %d arrived under campaign %s", i, p.topic.Campaign)
		}
		if p.aliased {
			aliased++
		}
	}
	if s.connected() < 5 || aliased == 0 {
		t.Errorf("connections %d, aliased %d: want several of both", s.connected(), aliased)
	}
	if st := r.Stats(); st.Acked < records || st.Losses == 0 {
		t.Errorf("stats: got %+v", st)
	}
}

// noAnswerLater answers after a moment, out of order.
func noAnswerLater(s *server, p publish) byte {
	s.mu.Lock()
	c := s.conns[p.connection-1]
	s.mu.Unlock()
	s.wg.Go(func() {
		time.Sleep(3 * time.Millisecond)
		c.ack(p.id, 0x10)
	})
	return noAnswer
}

func TestPoisonedRecordsDoNotBlock(t *testing.T) {
	t.Parallel()
	for _, code := range []byte{0x87, 0x90, 0x99, 0x80, 0x83} {
		t.Run(fmt.Sprintf("%02x", code), func(t *testing.T) {
			s := serve(t, &server{answer: func(p publish) byte {
				if p.connection == 1 && strings.HasPrefix(string(p.payload), "bad") {
					return code
				}
				return 0
			}}, nil)
			buf := newMemory()
			buf.add(numbered("bad", 40, protocol.CS5)...)
			buf.add(numbered("good", 40, protocol.CS3)...)
			r := start(t, buf, func(c *link.Config) {
				c.Endpoints = []string{"mqtt://" + s.addr}
				c.BackoffMin, c.BackoffMax = time.Millisecond, 2*time.Millisecond
			})
			eventually(t, "good ones acknowledged", func() bool { return buf.left() == 40 })
			eventually(t, "bad ones set aside", func() bool { return r.Stats().SetAside == 40 })
			tries := 1
			if code < 0x87 {
				tries = 8
			}
			if got := len(payloads(s.received())); got != 40+40*tries {
				t.Errorf("publishes: got %d, want %d tries of each bad one", got, tries)
			}
			s.cut()
			eventually(t, "bad ones at the next connection", func() bool { return buf.left() == 0 })
		})
	}
}

func TestQuotaSlowsTheLinkDown(t *testing.T) {
	t.Parallel()
	var exceeded atomic.Bool
	exceeded.Store(true)
	s := serve(t, &server{answer: func(p publish) byte {
		if p.user["pr"] == "CS1" && p.topic.Kind != topics.Presence && exceeded.Load() {
			return 0x97
		}
		return 0
	}}, nil)
	buf := newMemory()
	buf.add(numbered("bulk", 100, protocol.CS1)...)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + s.addr}
		c.BackoffMin, c.BackoffMax = 20*time.Millisecond, 60*time.Millisecond
	})
	eventually(t, "window shrinks", func() bool { return r.Stats().Window == 1 })
	buf.add(numbered("hot", 20, protocol.CS3)...)
	eventually(t, "hot records pass meanwhile", func() bool { return buf.left() == 100 })

	before := len(s.received())
	time.Sleep(200 * time.Millisecond) // some rests
	if n := len(s.received()) - before; n > 60 {
		t.Errorf("publishes in 200 ms of an exceeded quota: got %d, want few", n)
	}
	tried := map[string]bool{}
	for _, p := range s.received() {
		if p.user["pr"] == "CS1" {
			tried[string(p.payload)] = true
		}
	}
	if len(tried) > 16 {
		t.Errorf("records tried while the quota is exceeded: got %d, want no more than the first window of 16", len(tried))
	}
	exceeded.Store(false)
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	if st := r.Stats(); st.Retried == 0 || st.SetAside != 0 || st.Window < 4 {
		t.Errorf("stats: got %+v, want retries, none set aside, a window that recovered", st)
	}
}

func ptr[T any](v T) *T { return &v }
