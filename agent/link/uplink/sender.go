package uplink

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/session"
	"telltale.dev/protocol"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/topics"
)

// Sender keeps a window of publishes under way on one connection, and decides
// what each answer means. All of it is owned by the connection's loop: packets
// leave in the order in which they get their aliases.
//
//	order ─► accept ─► send ─► under way ─► stored (Ack)
//	           │         ▲        │ 0x80 0x83 0x97
//	 schema not yet      └─ held ◄┘        0x87 0x90 0x99 ─► aside, until the next connection
//	 acknowledged: held
type Sender struct {
	u       *Uplink
	order   *order
	publish Publish
	server  session.Limits

	window, grown int       // how many may be under way now; acknowledged since it last grew
	halved        time.Time // when the window was last halved
	inflight      int       // publishes under way,
	bytes         int       // and their payload bytes
	progress      time.Time // when one was last acknowledged, or sent while none was under way

	suspects []*Item // records that may be why connections ended; see suspects.go
	alone    bool    // one of them is under way
	behind   bool    // records were left in the buffer because of suspects
	reread   bool    // these may go: the buffer is read anew when nothing is under way
	first    []*Item // go before all else: presence, schema documents, what did not fit
	held     []*Item // wait for their time, or for a place when it is over
	waiting  map[protocol.SchemaHash][]*Item
	known    map[protocol.SchemaHash]bool // acknowledged by this server in this boot; outlives the connection
	refused  map[protocol.SchemaHash]bool // in this connection
	lanes    [2]laneState
	paused   time.Time       // the buffer could not be read; try again then
	told     map[string]bool // logged in this connection
	readErr  bool
}

// laneState counts what a lane holds back. A quota (0x97) holds the lane back
// as a whole: it rests, and then tries again with as many as the window has places.
type laneState struct {
	held   int           // in held and waiting
	rested time.Time     // when it last began to rest
	rest   time.Duration // how long
}

func (l *laneState) resting(now time.Time) bool { return now.Before(l.rested.Add(l.rest)) }

// Fill sends until the window is full or there is nothing to send. An error means that the connection is gone.
func (s *Sender) Fill(now time.Time) error {
	s.order.lowest = protocol.Priority(s.u.lowest.Load())
	for s.inflight < s.window && !s.alone {
		if s.reread {
			if s.inflight > 0 { // reading anew would send it twice
				return nil
			}
			s.again()
		}
		it, alone := s.pick(now), false
		if it == nil {
			it, alone = s.pickSuspect(now), true
		}
		if it == nil {
			return nil
		}
		if s.inflight > 0 && s.bytes+len(it.payload) > windowBytes {
			s.first = slices.Insert(s.first, 0, it)
			return nil
		}
		if err := s.send(it, now); err != nil {
			return err
		}
		s.alone = alone && s.inflight > 0 // it may have been dropped instead
	}
	return nil
}

// pick takes what goes next; nil when there is nothing now.
func (s *Sender) pick(now time.Time) *Item {
	if len(s.first) > 0 {
		it := s.first[0]
		s.first = slices.Delete(s.first, 0, 1)
		return it
	}
	if it := s.u.mailbox.next(s.order.lowest, func(it *Item) bool { return !now.Before(s.u.strikes[it.topic].rests) }); it != nil {
		return it
	}
	for lane := range s.lanes {
		if it := s.pickHeld(lane, now); it != nil {
			return it
		}
		if it := s.pickNew(lane, now); it != nil {
			return it
		}
		if len(s.first) > 0 { // a schema document, for what pickNew found
			return s.pick(now)
		}
	}
	return nil
}

// pickHeld takes the item of the highest class whose wait is over.
func (s *Sender) pickHeld(lane int, now time.Time) *Item {
	best, resting := -1, s.lanes[lane].resting(now)
	for i, it := range s.held {
		if it.quota && resting || s.barred(it) {
			continue
		}
		if laneOf(it.priority) == lane && !it.due.After(now) && (best < 0 || it.priority > s.held[best].priority) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	it := s.held[best]
	s.held = slices.Delete(s.held, best, best+1)
	s.release(it)
	return it
}

// pickNew takes a record of the buffer. A lane that rests, or that holds
// back many records, takes no new ones.
func (s *Sender) pickNew(lane int, now time.Time) *Item {
	state := &s.lanes[lane]
	for !now.Before(s.paused) && len(s.first) == 0 && !state.resting(now) && s.heldBy(lane) < maxHeld {
		e, ok, err := s.order.next(lane)
		if err != nil {
			s.readFailed(err, now)
			return nil
		}
		s.readErr = false
		if !ok {
			return nil
		}
		it := recordItem(e)
		if s.u.ends[it.position.Class].Before(it.position) {
			it.since = s.u.began
		}
		if s.accept(it, now) {
			return it
		}
	}
	return nil
}

func (s *Sender) readFailed(err error, now time.Time) {
	s.paused = now.Add(readRetry)
	if !s.readErr {
		s.u.cfg.Log.Error("buffer cannot be read; trying again", "error", err)
	}
	s.readErr = true
}

// accept says whether a record can be sent now. If not it is set aside, or held
// until its schema document, which goes first, is acknowledged.
func (s *Sender) accept(it *Item, now time.Time) bool {
	if it.topic == "" || strings.ContainsAny(it.topic, "+#\x00") || !utf8.ValidString(it.topic) {
		s.setAside(it, "topic is not one to publish to")
		return false
	}
	if s.needsSchema(it) && s.refused[it.schema] {
		s.setAside(it, "its schema document was not accepted")
		return false
	}
	if s.suspect(it, now) {
		return false
	}
	if !s.needsSchema(it) {
		return true
	}
	if _, asked := s.waiting[it.schema]; !asked {
		doc := s.schemaOf(it)
		if doc == nil {
			return false
		}
		s.first = append(s.first, doc)
	}
	s.waiting[it.schema] = append(s.waiting[it.schema], it)
	s.lanes[laneOf(it.priority)].held++
	return false
}

// schemaOf gives the schema document that goes before a record. When there is none the record is set aside.
func (s *Sender) schemaOf(it *Item) *Item {
	doc, ok := s.u.cfg.Schemas.Schema(it.schema)
	if !ok {
		s.refused[it.schema] = true
		s.setAside(it, "its schema document is missing")
		return nil
	}
	packed, err := compress.Pack(doc)
	if err != nil {
		packed = doc
	}
	topic := topics.Topic{Kind: topics.Schema, Vehicle: s.u.cfg.Vehicle, Schema: it.schema}
	return &Item{
		kind: schemaKind, schema: it.schema, topic: topic.String(), contentType: protocol.ContentSchema,
		priority: it.priority, qos: 1, payload: packed,
	}
}

// First puts an item before all else that is not sent yet.
func (s *Sender) First(it *Item) { s.first = append(s.first, it) }

// Appended says that the buffer has new records.
func (s *Sender) Appended() { s.order.wake() }

// UnderWay is how many publishes have no answer yet.
func (s *Sender) UnderWay() int { return s.inflight }

// Send publishes an item out of turn, if the window has a place; false when not, or when the connection is gone.
func (s *Sender) Send(it *Item, now time.Time) bool {
	return s.inflight < s.server.Window && s.send(it, now) == nil
}

// send publishes it, unless it is expired or too large for the server.
func (s *Sender) send(it *Item, now time.Time) error {
	if it.kind == messageKind && s.u.mailbox.superseded(it) {
		return nil
	}
	if left, forever := it.remaining(now); !forever && left <= 0 {
		s.expire(it)
		return nil
	}
	p := &paho.Publish{
		QoS: it.qos, Topic: it.topic, Retain: it.kind == presenceKind && s.server.Retain,
		Properties: it.properties(now), Payload: it.payload,
	}
	if size := session.PacketSize(p.Topic, p.Properties, len(p.Payload)); s.server.MaxPacket > 0 && size > s.server.MaxPacket {
		s.u.stats.add(func(st *Stats) { st.TooLarge++ })
		delete(s.u.strikes, it.suspectKey()) // this is why, and it is not sent again
		s.setAside(it, "larger than the server's maximum packet size")
		return nil
	}
	switch err := s.write(it, p); {
	case errors.Is(err, buffer.ErrPurged):
		s.settle(it)
		return nil
	case errors.Is(err, buffer.ErrUndecided):
		s.retry(it, false, now)
		return nil
	case err != nil:
		return err
	}
	if it.qos == 0 { // nobody answers
		s.u.mailbox.settled(it)
		s.u.stats.add(func(st *Stats) { st.Sent++; st.PayloadBytes += uint64(len(it.payload)) })
		return nil
	}
	if s.inflight == 0 {
		s.progress = now
	}
	it.sent, it.replied = now, false
	s.inflight++
	s.bytes += len(it.payload)
	s.u.stats.add(func(st *Stats) {
		st.Sent++
		st.InFlight = s.inflight
		st.PayloadBytes += uint64(len(it.payload))
	})
	return nil
}

// write publishes an item, a record only if no purge has taken it since it was read.
func (s *Sender) write(it *Item, p *paho.Publish) error {
	publish := func() error { return s.publish(it, p, it.kind == recordKind) } // the others are sent once: no alias
	if b, ok := s.u.cfg.Buffer.(Purger); ok && it.kind == recordKind {
		return b.Send(it.position, it.purpose, publish)
	}
	return publish()
}

// Answered takes the server's answer to a publish.
func (s *Sender) Answered(answer session.Answer, now time.Time) {
	it, ok := answer.Token.(*Item)
	if !ok {
		return // not a publish of ours
	}
	a := refusal{it, answer}
	s.inflight--
	s.alone = false
	delete(s.u.strikes, a.item.suspectKey())
	s.bytes -= len(a.item.payload)
	s.progress = now
	a.item.answer, a.item.replied = a.Code, true
	switch judge(a.Code) {
	case stored:
		s.stored(a.item)
	case aside:
		s.tell(a)
		s.setAside(a.item, "refused by the server: "+session.CodeText(a.Code))
	case overload:
		s.tell(a)
		s.slowDown(a.item, now)
		s.retry(a.item, true, now) // with the lane
	case later:
		s.tell(a)
		if a.item.tries+1 >= maxTries {
			s.setAside(a.item, "refused by the server again and again: "+session.CodeText(a.Code))
			break
		}
		s.retry(a.item, false, now)
	}
	s.u.stats.add(func(st *Stats) { st.InFlight, st.Window = s.inflight, s.window })
}

// refusal is an answer and what it is about.
type refusal struct {
	item *Item
	session.Answer
}

// tell logs a refusal, once per code and connection.
func (s *Sender) tell(a refusal) {
	code := session.CodeText(a.Code)
	if !s.told[code] {
		s.u.cfg.Log.Warn("server refuses messages", "code", code, "reason", session.Printable(a.Reason), "priority", a.item.priority.String())
	}
	s.told[code] = true
}

// stored lets the buffer forget the record, and opens the window: by one place
// for each window that was acknowledged.
func (s *Sender) stored(it *Item) {
	if lane := &s.lanes[laneOf(it.priority)]; it.sent.After(lane.rested) {
		lane.rest = 0
	}
	if s.grown++; s.grown >= s.window && s.window < s.server.Window {
		s.window, s.grown = s.window+1, 0
	}
	switch it.kind {
	case recordKind:
		s.u.cfg.Buffer.Ack(it.position)
		s.u.stats.add(func(st *Stats) { st.Acked, st.LastAck = st.Acked+1, time.Now() })
		s.settle(it)
	case schemaKind:
		s.known[it.schema] = true
		s.u.stats.add(func(st *Stats) { st.Schemas++ })
		for _, record := range s.waiting[it.schema] {
			if s.suspicious(record) { // it goes alone still
				s.suspects = append(s.suspects, record)
			} else {
				s.held = append(s.held, record) // their time is over: due is zero
			}
		}
		delete(s.waiting, it.schema)
		s.reread = s.reread || s.behind
	case presenceKind:
	case messageKind:
		s.u.mailbox.settled(it)
	}
}

// slowDown halves the window and lets the lane rest, once for all that was sent before.
func (s *Sender) slowDown(it *Item, now time.Time) {
	if it.sent.After(s.halved) {
		s.window, s.grown, s.halved = max(s.window/2, 1), 0, now
	}
	if lane := &s.lanes[laneOf(it.priority)]; it.sent.After(lane.rested) {
		lane.rest, lane.rested = s.longer(lane.rest), now
	}
}

// longer draws the wait after one of last.
func (s *Sender) longer(last time.Duration) time.Duration {
	lowest := s.u.cfg.BackoffMin
	return session.Jitter(lowest, max(min(s.u.cfg.BackoffMax, maxRetryWait), lowest), max(last, lowest))
}

// retry holds an item until its random wait, or the lane's rest, is over.
func (s *Sender) retry(it *Item, quota bool, now time.Time) {
	it.tries++
	lane := &s.lanes[laneOf(it.priority)]
	lane.held++
	it.quota, it.due = quota, now
	if !quota {
		it.wait = s.longer(it.wait)
		it.due = now.Add(it.wait)
	}
	s.held = append(s.held, it)
	s.u.stats.add(func(st *Stats) { st.Retried++ })
}

// release takes an item out of the count of held ones.
func (s *Sender) release(it *Item) {
	lane := &s.lanes[laneOf(it.priority)]
	lane.held--
	it.quota = false
}

// setAside leaves a record in the buffer, for the next connection. What waits
// for a schema document that is set aside is set aside, too.
func (s *Sender) setAside(it *Item, why string) {
	switch it.kind {
	case recordKind:
		s.u.stats.add(func(st *Stats) { st.SetAside++; st.SetAsideTotal++ })
		if !s.told[why] {
			s.u.cfg.Log.Warn("records set aside until the next connection", "reason", why, "first_seq", it.id.Seq, "bytes", len(it.payload))
		}
		s.told[why] = true
		s.settle(it)
	case schemaKind:
		s.refused[it.schema] = true
		held := s.waiting[it.schema]
		delete(s.waiting, it.schema)
		for _, record := range held {
			s.release(record)
			s.setAside(record, "its schema document was not accepted: "+why)
		}
	case presenceKind:
		s.u.cfg.Log.Warn("presence was not accepted", "reason", why)
	case messageKind:
		s.u.cfg.Log.Warn("message was not accepted", "reason", why, "bytes", len(it.payload))
	}
}

// expire lets the buffer forget a record that is of no use any more.
func (s *Sender) expire(it *Item) {
	if it.kind == messageKind {
		s.u.mailbox.settled(it)
		return
	}
	if b, ok := s.u.cfg.Buffer.(Expirer); ok {
		b.Expire(it.position)
	} else {
		s.u.cfg.Buffer.Ack(it.position)
	}
	s.u.stats.add(func(st *Stats) { st.Expired++; st.ExpiredSamples += uint64(it.samples) })
	s.settle(it)
}

// settle lets the next ordered record go, and behind a suspect what was left in the buffer because of it.
func (s *Sender) settle(it *Item) {
	if it.suspect {
		it.suspect, s.reread = false, s.reread || s.behind
	}
	if it.ordered {
		s.order.settled(it.position.Class)
	}
}

// Overdue says whether the server has been silent about publishes for too long.
func (s *Sender) Overdue(now time.Time) error {
	if s.inflight > 0 && now.Sub(s.progress) >= s.u.cfg.AckTimeout {
		return session.ErrNoAnswer
	}
	return nil
}

// WakeAt is when the sender has something to do on its own account; zero: never.
func (s *Sender) WakeAt(now time.Time) time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if s.inflight > 0 {
		earlier(s.progress.Add(s.u.cfg.AckTimeout))
	}
	earlier(s.paused)
	for _, lane := range s.lanes {
		earlier(lane.rested.Add(lane.rest))
	}
	for _, it := range s.held {
		earlier(it.due)
	}
	for _, it := range s.suspects {
		earlier(s.rests(it))
	}
	s.u.mailbox.each(func(it *Item) { earlier(s.u.strikes[it.topic].rests) })
	return at
}
