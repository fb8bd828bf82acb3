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

// slowly gives the server a receive maximum and a time per publish.
func slowly(receive uint16, each time.Duration, s *server) *server {
	s.connack = func(_ int, _ *packets.Connect, ca *packets.Connack) { ca.Properties.ReceiveMaximum = &receive }
	answer := s.answer
	s.answer = func(p publish) byte {
		time.Sleep(each)
		if answer != nil {
			return answer(p)
		}
		return 0
	}
	return s
}

func TestHotLaneGoesFirst(t *testing.T) {
	s := serve(t, slowly(2, 0, &server{}), nil)
	buf := newMemory()
	buf.add(numbered("cs0", 5, protocol.CS0)...)
	buf.add(numbered("cs2", 5, protocol.CS2)...)
	buf.add(numbered("cs3", 5, protocol.CS3)...)
	buf.add(numbered("cs6", 5, protocol.CS6)...)
	start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	var want []string
	for _, class := range []string{"cs6", "cs3", "cs2", "cs0"} {
		for i := range 5 {
			want = append(want, fmt.Sprintf("%s-%d", class, i))
		}
	}
	if got := payloads(s.received()); !slices.Equal(got, want) {
		t.Errorf("order: got %v, want %v", got, want)
	}
}

func TestLiveGoesBeforeTheBacklogWhichDrainsBeside(t *testing.T) {
	t.Parallel()
	for _, class := range []protocol.Priority{protocol.CS3, protocol.CS1} {
		t.Run(class.String(), func(t *testing.T) {
			const old, live = 300, 30
			s := serve(t, slowly(4, 500*time.Microsecond, &server{}), nil)
			buf := newMemory()
			buf.add(numbered("old", old, class)...)
			start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
			eventually(t, "backlog begins to drain", func() bool { return complete(s.received(), "old-0") })
			for _, r := range numbered("live", live, class) {
				buf.add(r)
				time.Sleep(time.Millisecond)
			}
			eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
			got := payloads(s.received())
			last := slices.Index(got, fmt.Sprintf("live-%d", live-1))
			if last > old*2/3 {
				t.Errorf("last live record came as number %d of %d, want before most of the backlog", last, len(got))
			}
			beside := 0
			for _, p := range got[slices.Index(got, "live-0"):last] {
				if strings.HasPrefix(p, "old") {
					beside++
				}
			}
			if beside == 0 {
				t.Error("the backlog stood still while there was live data")
			}
			inOrder(t, got, "old")
			inOrder(t, got, "live")
		})
	}
}

// A flood of live records that fills the window must not stop the backlog.
func TestLiveDoesNotStarveTheBacklog(t *testing.T) {
	t.Parallel()
	const old, live = 20, 400
	s := serve(t, slowly(4, 200*time.Microsecond, &server{}), nil)
	buf := newMemory()
	buf.add(numbered("old", old, protocol.CS3)...)
	first := make(chan struct{})
	answer := s.answer
	s.mu.Lock()
	s.answer = func(p publish) byte {
		if p.topic.Kind == topics.Presence {
			<-first // until the live records are there
		}
		return answer(p)
	}
	s.mu.Unlock()
	start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "birth", func() bool { return len(s.received()) > 0 })
	buf.add(numbered("live", live, protocol.CS5)...)
	close(first)
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	got := payloads(s.received())
	if last := slices.Index(got, fmt.Sprintf("old-%d", old-1)); last > 6*old {
		t.Errorf("the backlog of %d was through at number %d, want one in four", old, last)
	}
}

func inOrder(t *testing.T, got []string, prefix string) {
	t.Helper()
	last := -1
	for _, p := range got {
		var n int
		if _, err := fmt.Sscanf(p, prefix+"-%d", &n); err != nil {
			continue
		}
		if n <= last {
			t.Errorf("%s: %d came after %d", prefix, n, last)
		}
		last = n
	}
}

// Ordered records stay in order, one at a time, over refusals, losses and new
// live records, while others overtake them.
func TestOrderedRecordsStayInOrder(t *testing.T) {
	t.Parallel()
	var s *server
	var count atomic.Int64
	s = &server{answer: func(p publish) byte {
		if p.topic.Kind != topics.ConfigStatus {
			return 0
		}
		n := count.Add(1)
		switch {
		case n%5 == 0:
			return 0x97
		case n%7 == 0:
			return 0x80
		case n%11 == 0:
			s.mu.Lock()
			s.conns[p.connection-1].Close()
			s.mu.Unlock()
		}
		return 0
	}}
	serve(t, s, nil)
	buf := newMemory()
	add := func(from, to int) {
		for i := from; i < to; i++ {
			buf.add(
				buffer.Record{Priority: protocol.CS4, Ordered: true, Topic: "v1/veh-1/up/config/campaigns/status", Payload: fmt.Appendf(nil, "st-%d", i)},
				buffer.Record{Priority: protocol.CS4, Payload: fmt.Appendf(nil, "other-%d", i)},
			)
		}
	}
	add(0, 50)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + s.addr}
		c.BackoffMin, c.BackoffMax = time.Millisecond, 5*time.Millisecond
	})
	eventually(t, "first status", func() bool { return complete(s.received(), "st-3") })
	for i := 50; i < 100; i++ {
		add(i, i+1)
		time.Sleep(time.Millisecond)
	}
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	r.stop()
	last := -1
	for _, p := range payloads(s.received()) {
		var n int
		if _, err := fmt.Sscanf(p, "st-%d", &n); err != nil {
			continue
		}
		if n < last || n > last+1 {
			t.Errorf("status %d came after %d", n, last)
		}
		last = n
	}
	if last != 99 || s.connected() < 2 {
		t.Errorf("last status %d after %d connections, want 99 after several", last, s.connected())
	}
}

// Live ordered records wait for the backlog, are not forgotten, and hold up no others.
func TestLiveOrderedRecordsFollowTheBacklog(t *testing.T) {
	t.Parallel()
	s := serve(t, slowly(4, 300*time.Microsecond, &server{}), nil)
	buf := newMemory()
	add := func(n int, names ...string) {
		for i := range n {
			for _, name := range names {
				buf.add(buffer.Record{Priority: protocol.CS4, Ordered: strings.HasPrefix(name, "st"), Payload: fmt.Appendf(nil, "%s-%d", name, i)})
			}
		}
	}
	add(100, "old", "st-old")
	start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "backlog begins to drain", func() bool { return complete(s.received(), "old-0") })
	add(50, "live", "st-live")
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	got := payloads(s.received())
	if s.connected() != 1 || len(got) != 300 {
		t.Errorf("%d connections, %d publishes: want 1 and 300", s.connected(), len(got))
	}
	inOrder(t, got, "st-old")
	inOrder(t, got, "st-live")
	if slices.Index(got, "st-live-0") < slices.Index(got, "st-old-99") {
		t.Error("a live status came before the last one of the backlog")
	}
	if slices.Index(got, "live-49") > slices.Index(got, "st-old-99") {
		t.Error("live records waited for the backlog's statuses")
	}
}

func TestSchemaIsAcknowledgedBeforeItsFirstBatch(t *testing.T) {
	var s *server
	answered := make(chan struct{})
	s = serve(t, &server{answer: func(p publish) byte {
		if p.topic.Kind == topics.Schema && p.connection == 1 {
			s.wg.Go(func() {
				<-answered
				s.mu.Lock()
				c := s.conns[0]
				s.mu.Unlock()
				c.ack(p.id, 0)
			})
			return noAnswer
		}
		return 0
	}}, nil)
	buf := newMemory()
	docs := schemas{}
	hash, other := docs.put("schema document"), protocol.SchemaHash{9}
	for i := range 300 {
		buf.add(buffer.Record{Schema: hash, Payload: fmt.Appendf(nil, "batch-%d", i)})
	}
	buf.add(buffer.Record{Payload: []byte("free"), Priority: protocol.CS1}, buffer.Record{Schema: other, Payload: []byte("unknown schema"), Priority: protocol.CS5})
	r := start(t, buf, func(c *link.Config) { c.Endpoints, c.Schemas = []string{"mqtt://" + s.addr}, docs })
	eventually(t, "others proceed", func() bool { return complete(s.received(), "free") })
	time.Sleep(20 * time.Millisecond)
	if got := payloads(s.received()); len(got) != 1 {
		t.Errorf("before the schema was acknowledged came %v, want only the record without", got)
	}
	if n := buf.taken(); n > 100 {
		t.Errorf("records in memory while the schema is not acknowledged: got %d of 302, want a bound", n)
	}
	close(answered)
	eventually(t, "batches acknowledged", func() bool { return buf.left() == 1 })
	if st := r.Stats(); st.SetAside != 1 || st.Schemas != 1 {
		t.Errorf("stats: got %+v, want one record set aside for its missing schema, one schema", st)
	}
	inOrder(t, payloads(s.received()), "batch")

	s.cut() // the same boot: not sent again
	eventually(t, "second connection", func() bool { return s.connected() == 2 })
	buf.add(buffer.Record{Schema: hash, Payload: []byte("later")})
	eventually(t, "batch acknowledged", func() bool { return buf.left() == 1 })
	sent := 0
	for _, p := range s.received() {
		if p.topic.Kind == topics.Schema {
			sent++
			if p.topic.Schema != hash || string(p.payload) != "schema document" || p.properties.ContentType != protocol.ContentSchema {
				t.Errorf("schema: got %v %q", p.topic, p.payload)
			}
		}
	}
	if sent != 1 {
		t.Errorf("schema documents sent: got %d, want 1", sent)
	}
}

func TestRefusedSchemaHoldsOnlyItsOwnBatches(t *testing.T) {
	s := serve(t, &server{answer: func(p publish) byte {
		if p.topic.Kind == topics.Schema && p.connection == 1 {
			return 0x99
		}
		return 0
	}}, nil)
	buf, docs := newMemory(), schemas{}
	hash := docs.put("one that the server does not like")
	for i := range 100 {
		buf.add(buffer.Record{Schema: hash, Payload: fmt.Appendf(nil, "batch-%d", i)}, buffer.Record{Payload: fmt.Appendf(nil, "free-%d", i)})
	}
	r := start(t, buf, func(c *link.Config) { c.Endpoints, c.Schemas = []string{"mqtt://" + s.addr}, docs })
	eventually(t, "others acknowledged", func() bool { return buf.left() == 100 && r.Stats().SetAside == 100 })
	s.cut()
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
}
