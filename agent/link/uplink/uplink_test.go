package uplink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// TestWindow: no more than the window is under way, the highest class goes first, and only an acknowledgement lets the buffer forget.
func TestWindow(t *testing.T) {
	r := newRig(t, 2)
	r.add(protocol.CS1, "bulk")
	r.add(protocol.CS3, "hot")
	r.add(protocol.CS6, "crash")
	equal(t, "first", r.fill(0), "crash", "hot")
	equal(t, "full", r.fill(0))
	if r.UnderWay() != 2 || len(r.buf.acked) != 0 {
		t.Errorf("got %d under way, %d acknowledged", r.UnderWay(), len(r.buf.acked))
	}
	r.answer(0)
	equal(t, "a place", r.fill(0), "bulk")
	r.answer(0x10) // stored, and nobody is subscribed
	r.answer(0)
	if st := r.Stats(); st.Acked != 3 || st.Sent != 3 || st.InFlight != 0 || len(r.buf.acked) != 3 {
		t.Errorf("got %+v", st)
	}
	r.Answered(session.Answer{Token: "another's"}, r.now) // is none of ours
}

// TestProperties: a publish says all that its record says of itself, and nothing that nobody knows.
func TestProperties(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS4, "full", func(rec *buffer.Record) {
		rec.ID = protocol.MessageID{Device: "tcu", Boot: protocol.BootID{1}, Seq: 7}
		rec.Purpose, rec.TimeQuality, rec.ContentType = "research", batches.TimeUnsynced, protocol.ContentTelemetry
	})
	r.add(protocol.CS1, "bare", func(rec *buffer.Record) { rec.TTL = 0 })
	equal(t, "sent", r.fill(time.Minute), "full", "bare")
	for i, want := range []string{"pr=CS4 id=tcu.0100000000000000.7 pu=research tq=unsynced", "pr=CS1"} {
		var got []string
		for _, u := range r.got[i].Properties.User {
			got = append(got, u.Key+"="+u.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if p := r.got[0].Properties; p.ContentType != protocol.ContentTelemetry || p.MessageExpiry == nil || *p.MessageExpiry/60 != 59 {
		t.Errorf("got %+v, want content type and what is left of an hour", p)
	}
	if p := r.got[1].Properties; p.ContentType != "" || p.MessageExpiry != nil {
		t.Errorf("got %+v, want no content type and no end", p)
	}
}

// TestLiveBeforeBacklog: what is appended while connected goes first; one in four is of the backlog.
func TestLiveBeforeBacklog(t *testing.T) {
	r := newRig(t, 64)
	for i := range 3 {
		r.add(protocol.CS1, fmt.Sprint("old", i))
	}
	r.connect()
	for i := range 6 {
		r.add(protocol.CS1, fmt.Sprint("new", i))
	}
	equal(t, "order", r.fill(0), "new0", "new1", "new2", "old0", "new3", "new4", "new5", "old1", "old2")
}

// TestOrdered: ordered records go one at a time, and not before those of the backlog.
func TestOrdered(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS4, "a", ordered)
	r.add(protocol.CS4, "b", ordered)
	r.connect()
	r.add(protocol.CS4, "c", ordered)
	r.add(protocol.CS4, "free")
	equal(t, "first", r.fill(0), "free", "a")
	r.answer(0) // free
	equal(t, "a has no answer", r.fill(0))
	r.answer(0x97)
	equal(t, "a is refused for now", r.fill(0))
	equal(t, "a again", r.fill(time.Minute), "a")
	r.answer(0)
	equal(t, "then b", r.fill(0), "b")
	r.answer(0)
	equal(t, "then c", r.fill(0), "c")
}

// TestHold: classes below the lowest stay, and go when they may.
func TestHold(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS1, "bulk")
	r.add(protocol.CS5, "urgent")
	r.Hold(protocol.CS4)
	select {
	case <-r.Changed():
	default:
		t.Error("Hold does not tell who owns the connection")
	}
	equal(t, "held", r.fill(0), "urgent")
	r.Hold(protocol.PriorityUnset)
	equal(t, "let go", r.fill(0), "bulk")
}

// TestVerdicts: what each code means for a record.
func TestVerdicts(t *testing.T) {
	for _, code := range []byte{0x87, 0x90, 0x99} { // set aside until the next connection
		r := newRig(t, 1)
		r.add(protocol.CS1, "poisoned")
		r.add(protocol.CS1, "good")
		equal(t, "first", r.fill(0), "poisoned")
		r.answer(code)
		equal(t, "the next", r.fill(0), "good")
		r.answer(0)
		equal(t, "not again", r.fill(time.Hour/2))
		if st := r.Stats(); st.SetAside != 1 || st.Acked != 1 {
			t.Errorf("%#x: got %+v", code, st)
		}
		r.Disconnected(nil, r.now)
		r.connect()
		equal(t, "next connection", r.fill(0), "poisoned")
	}
	for _, code := range []byte{0x80, 0x83} { // tried again, beside others, and then set aside
		r := newRig(t, 1)
		r.add(protocol.CS1, "later")
		tries := 0
		for ; len(r.fill(5*time.Minute)) > 0; tries++ {
			r.answer(code)
			r.buf.classes[protocol.CS1][0].Record.TTL = 0
		}
		if st := r.Stats(); tries != 8 || st.SetAside != 1 || st.Retried != 7 {
			t.Errorf("%#x: got %d tries, %+v", code, tries, st)
		}
	}
}

// TestQuota: 0x97 halves the window and lets the lane rest, once for all that was under way; the other lane goes on.
func TestQuota(t *testing.T) {
	r := newRig(t, 8)
	for i := range 16 {
		r.add(protocol.CS1, fmt.Sprint(i))
	}
	equal(t, "window", r.fill(0), "0", "1", "2", "3", "4", "5", "6", "7")
	r.now = r.now.Add(time.Millisecond)
	for range 8 {
		r.answer(0x97)
	}
	if st := r.Stats(); st.Window != 4 || st.Retried != 8 {
		t.Errorf("got %+v, want half a window", st)
	}
	r.add(protocol.CS3, "hot")
	equal(t, "the lane rests, the other does not", r.fill(0), "hot")
	at := r.WakeAt(r.now)
	if wait := at.Sub(r.now); wait <= 0 || wait > time.Minute {
		t.Errorf("wakes after %v, want the rest", wait)
	}
	if got := r.fill(at.Sub(r.now)); len(got) != 3 {
		t.Errorf("after the rest: got %q, want what the window still holds", got)
	}
}

// TestSchemaFirst: a schema document is acknowledged before the first record that needs it, once for each server.
func TestSchemaFirst(t *testing.T) {
	r := newRig(t, 8)
	needs := func(h protocol.SchemaHash) func(*buffer.Record) { return func(rec *buffer.Record) { rec.Schema = h } }
	good, missing := r.schema("schema"), protocol.SchemaHash{1}
	r.add(protocol.CS1, "a", needs(good))
	r.add(protocol.CS1, "b", needs(good))
	r.add(protocol.CS1, "c", needs(missing))
	r.add(protocol.CS1, "d")
	got := r.fill(0)
	if len(got) != 2 || got[1] != "d" || r.got[0].Topic != "v1/anna/up/schema/"+good.String() {
		t.Fatalf("got %q on %s, want the schema and d", got, r.got[0].Topic)
	}
	r.answer(0)
	equal(t, "then the records", r.fill(0), "a", "b")
	r.Disconnected(nil, r.now)
	r.connect()
	equal(t, "the server has it", r.fill(0), "a", "b", "d")
	if st := r.Stats(); st.Schemas != 1 || st.SetAsideTotal != 2 {
		t.Errorf("got %+v", st)
	}
}

// TestSuspects: a record that was under way when the other side ended three connections goes last, and alone.
func TestSuspects(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS3, "deadly")
	for range 3 {
		equal(t, "first", r.fill(0), "deadly")
		r.Disconnected(r.tokens, r.now)
		r.connect()
	}
	r.add(protocol.CS1, "good")
	equal(t, "last", r.fill(0), "good")
	equal(t, "not beside another", r.fill(0))
	r.answer(0)
	equal(t, "alone", r.fill(0), "deadly")
	r.add(protocol.CS6, "crash")
	equal(t, "nothing beside it", r.fill(0))
	r.answer(0)
	equal(t, "it was innocent", r.fill(0), "crash")
}

// TestExpiry: a record whose time is over is not sent but declared; no clock that is set forward makes one old.
func TestExpiry(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS1, "short", func(rec *buffer.Record) { rec.TTL = time.Minute })
	r.add(protocol.CS1, "of before the clock was set", func(rec *buffer.Record) { rec.Created = r.now.Add(-1000 * time.Hour) })
	equal(t, "after two minutes", r.fill(2*time.Minute), "of before the clock was set")
	if e := r.got[0].Properties.MessageExpiry; e == nil || *e < 3470 || *e > 3481 {
		t.Errorf("message expiry: got %v, want 58 minutes", e)
	}
	if st := r.Stats(); st.Expired != 1 || len(r.buf.expired) != 1 {
		t.Errorf("got %+v", st)
	}
}

// TestLimits: what the server's maximum packet size does not allow, or no topic can say, is set aside.
func TestLimits(t *testing.T) {
	r := newRig(t, 8)
	r.limits.MaxPacket = 200
	r.connect()
	r.add(protocol.CS1, string(make([]byte, 300)))
	r.add(protocol.CS1, "bad topic", func(rec *buffer.Record) { rec.Topic = "v1/+/up" })
	r.add(protocol.CS1, "good")
	equal(t, "sent", r.fill(0), "good")
	if st := r.Stats(); st.TooLarge != 1 || st.SetAside != 2 {
		t.Errorf("got %+v", st)
	}
}

// TestOverdue: publishes without an answer for too long mean that the connection is lost.
func TestOverdue(t *testing.T) {
	r := newRig(t, 8)
	if err := r.Overdue(r.now.Add(time.Hour)); err != nil {
		t.Errorf("idle: got %v", err)
	}
	r.add(protocol.CS1, "a")
	r.fill(0)
	if at := r.WakeAt(r.now); !at.Equal(r.now.Add(30 * time.Second)) {
		t.Errorf("wakes at %v, want after AckTimeout", at.Sub(r.now))
	}
	if err := r.Overdue(r.now.Add(30 * time.Second)); !errors.Is(err, session.ErrNoAnswer) {
		t.Errorf("got %v, want %v", err, session.ErrNoAnswer)
	}
}

// TestBrokenBuffer: an error of the buffer stops nothing for good, and a lost connection is told.
func TestBrokenBuffer(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS1, "a")
	r.buf.fail = errors.New("disk")
	equal(t, "while it fails", r.fill(0))
	r.buf.fail = nil
	equal(t, "not at once", r.fill(time.Second/2))
	r.broken = errors.New("gone")
	if err := r.Fill(r.now.Add(time.Second)); !errors.Is(err, r.broken) {
		t.Errorf("got %v, want that the connection is gone", err)
	}
}

// TestWords: the connection's own items go first, need a place in the window and know what became of them.
func TestWords(t *testing.T) {
	r := newRig(t, 1)
	word := func(text string) *uplink.Item {
		return uplink.Word("v1/anna/up/presence/tcu", "x", protocol.CS2, []byte(text))
	}
	r.add(protocol.CS6, "crash")
	birth, late := word("birth"), word("late")
	r.First(birth)
	equal(t, "birth", r.fill(0), "birth")
	if !r.got[0].Retain || birth.Done() || r.Sender.Send(late, r.now) || !late.Done() || late.Stored() {
		t.Errorf("got retain %v, done %v; a second one without a place: done %v, stored %v", r.got[0].Retain, birth.Done(), late.Done(), late.Stored())
	}
	r.answer(0x87)
	if !birth.Done() || birth.Stored() {
		t.Error("a refused word: got stored, or still waited for")
	}
	if !r.Sender.Send(late, r.now) {
		t.Error("got no place")
	}
	r.answer(0)
	if !late.Done() || !late.Stored() {
		t.Error("an accepted word: got another answer")
	}
}

// TestMailbox: the newest of a topic waits over connections until it is acknowledged; others only while connected.
func TestMailbox(t *testing.T) {
	r := newRig(t, 8)
	say := func(topic, text string, newest bool, qos byte) {
		r.Uplink.Send(uplink.Message{Topic: topic, Class: protocol.CS3, QoS: qos, Created: r.now, TTL: time.Minute, Newest: newest, Payload: []byte(text)})
	}
	say("state", "old", true, 1)
	say("state", "new", true, 1)
	say("health", "passing", false, 0)
	equal(t, "sent", r.fill(0), "new", "passing")
	if r.UnderWay() != 1 {
		t.Errorf("under way: got %d, want QoS 0 not counted", r.UnderWay())
	}
	r.answer(0x97)
	say("state", "newer", true, 1)
	equal(t, "in its place", r.fill(30*time.Second), "newer")
	equal(t, "the refused one is not sent any more", r.fill(20*time.Second))
	r.Disconnected(nil, r.now)
	say("health", "nobody is there", false, 0)
	r.connect()
	equal(t, "again", r.fill(0), "newer")
	r.answer(0)
	say("state", "expires", true, 1)
	r.Hold(protocol.CS4)
	equal(t, "held", r.fill(0))
	r.Hold(protocol.PriorityUnset)
	equal(t, "too late", r.fill(2*time.Minute))
	if st := r.Stats(); st.Dropped != 1 || st.Acked != 0 {
		t.Errorf("got %+v", st)
	}
}
