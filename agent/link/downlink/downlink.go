package downlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// Reason codes of our PUBACKs [MQTT-3.4.2.1].
const (
	CodeTaken        byte = 0x00 // on disk; somebody will look into it
	CodeUnspecified  byte = 0x80 // it could not be written
	CodeNotSupported byte = 0x83 // a document or command that this agent does not know, or one that came too late
	CodeTopicInvalid byte = 0x90 // nothing for this vehicle, or a kind that it does not take
	CodeNoRoom       byte = 0x97 // too many wait already, or the disk is full
)

// ReceiveMaximum is how many messages may be on their way to the inbox; more the server does not send before a PUBACK.
const ReceiveMaximum = 16

// MaxUser is how many user properties a message may have; one with more is refused.
const MaxUser = 64

// Arrival is a message with what tells the server what became of it. Answer is called once, by the
// one writer, in the order of arrival; for QoS 0 it may be nil. The reason is for a person, and empty for CodeTaken.
type Arrival struct {
	Message Message
	Answer  func(code byte, reason string)
}

// Config of a Downlink. Dir and Vehicle must be set when there are routes.
type Config struct {
	Dir     string // of the inbox; made with the first message
	Vehicle protocol.VehicleID
	Routes  []Route // the first that matches takes
	// Write puts a small file on disk; nil: durable.Replace.
	Write func(path string, data []byte) error
	Log   *slog.Logger // nil: slog.Default
}

// Stats count since the start.
type Stats struct {
	Received     uint64 `json:"received"`      // messages that somebody takes
	Refused      uint64 `json:"refused"`       // nobody takes them
	NoRoom       uint64 `json:"no_room"`       // refused since too many waited
	Unwritten    uint64 `json:"unwritten"`     // refused by the disk
	Expired      uint64 `json:"expired"`       // not taken since their time was over
	Paced        uint64 `json:"paced"`         // of QoS 0, dropped since more came than the flash should take
	Damaged      int    `json:"damaged"`       // files of the inbox that could not be read
	Waiting      int    `json:"waiting"`       // messages that are not dealt with
	WaitingBytes int    `json:"waiting_bytes"` // of their payloads
}

// Downlink brings messages to their routes.
type Downlink struct {
	cfg      Config
	inbox    inbox
	queues   []*queue
	arrivals chan Arrival

	mu    sync.Mutex // guards stats
	stats Stats

	// Owned by the writer.
	pace pace
	told map[string]bool // what was logged
}

// Open checks the settings, which alone give an error, and reads what the inbox holds. Whatever cannot be read is
// logged, counted when it is a message, and does not keep the agent from starting; damaged ones are removed.
func Open(cfg Config) (*Downlink, error) {
	if cfg.Write == nil {
		cfg.Write = durable.Replace
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	d := &Downlink{
		cfg: cfg, inbox: inbox{dir: cfg.Dir, write: cfg.Write}, arrivals: make(chan Arrival, ReceiveMaximum),
		pace: newPace(time.Now()), told: map[string]bool{},
	}
	if len(cfg.Routes) == 0 {
		return d, nil
	}
	if cfg.Dir == "" || cfg.Vehicle == "" {
		return nil, errors.New("downlink: expected a folder and a vehicle")
	}
	for _, r := range cfg.Routes {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("downlink: %w", err)
		}
		d.queues = append(d.queues, newQueue(&r, &d.inbox))
	}
	d.restore()
	return d, nil
}

// restore queues what a former run has left.
func (d *Downlink) restore() {
	waiting, damaged, err := d.inbox.load()
	if err != nil {
		d.cfg.Log.Error("the inbox cannot be read and counts as empty", "error", err)
	}
	if d.stats.Damaged = damaged; damaged > 0 {
		d.cfg.Log.Error("messages in the inbox are damaged", "messages", damaged)
	}
	for _, e := range waiting {
		q := d.queueOf(e.Topic)
		if q == nil || e.Topic.Vehicle != d.cfg.Vehicle {
			d.inbox.remove(e.number)
			d.cfg.Log.Warn("message in the inbox is of a kind that nobody takes any more", "kind", e.Topic.Kind.Word())
			continue
		}
		q.add(e)
	}
}

func (d *Downlink) queueOf(t topics.Topic) *queue {
	for _, q := range d.queues {
		if q.route.matches(t) {
			return q
		}
	}
	return nil
}

// Run works until ctx ends, and waits for those who take a message at that time.
func (d *Downlink) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, q := range d.queues {
		running.Go(func() { q.run(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-d.arrivals:
			d.arrive(ctx, a)
		}
	}
}

// Receive hands an arrival to the writer, and blocks while ReceiveMaximum of them wait. It gives up when closed is closed.
func (d *Downlink) Receive(a Arrival, closed <-chan struct{}) {
	select {
	case d.arrivals <- a:
	case <-closed:
	}
}

// arrive decides about one message and answers.
func (d *Downlink) arrive(ctx context.Context, a Arrival) {
	code, reason := d.accept(ctx, &a.Message)
	if ctx.Err() != nil && code != CodeTaken {
		return // whoever sent it sends it again
	}
	if a.Answer != nil && a.Message.QoS > 0 {
		a.Answer(code, reason)
	}
}

// accept writes a message and queues it, or gives the code that refuses it.
func (d *Downlink) accept(ctx context.Context, m *Message) (code byte, reason string) {
	q := d.queueOf(m.Topic)
	switch {
	case m.Topic.Vehicle != d.cfg.Vehicle || q == nil && m.Topic.Kind != topics.Config:
		return d.refuse(m, CodeTopicInvalid, "nothing that this vehicle takes")
	case q == nil:
		return d.refuse(m, CodeNotSupported, "this agent does not know the document")
	}
	if len(m.User) > MaxUser {
		return d.refuse(m, CodeNoRoom, "too many user properties")
	}
	now := time.Now()
	if m.Expired(now) {
		d.count(func(s *Stats) { s.Expired++ })
		return CodeNotSupported, "expired"
	}
	if q.pending(m) {
		d.count(func(s *Stats) { s.Received++ })
		return CodeTaken, ""
	}
	e := entry{Message: *m}
	if !q.room(&e, now) {
		d.count(func(s *Stats) { s.NoRoom++ })
		d.tell("too many messages of a kind wait; further ones are refused", m.Topic.Kind)
		return CodeNoRoom, "too many messages wait"
	}
	switch {
	case q.known(m):
	case m.QoS == 0:
		if !d.pace.spare(len(m.Payload), now) {
			d.count(func(s *Stats) { s.Paced++ })
			d.tell("more messages of QoS 0 come than the flash should take; some are dropped", m.Topic.Kind)
			return CodeNoRoom, ""
		}
	default:
		if !sleep(ctx, d.pace.take(len(m.Payload), now)) {
			return CodeUnspecified, "the agent stops"
		}
		var err error
		if e.number, err = d.inbox.add(m); err != nil {
			return d.unwritten(q, e, err)
		}
		delete(d.told, unwrittenText+m.Topic.Kind.Word())
	}
	d.count(func(s *Stats) { s.Received++ })
	q.add(e)
	return CodeTaken, ""
}

// refuse counts what nobody takes.
func (d *Downlink) refuse(m *Message, code byte, reason string) (byte, string) {
	d.count(func(s *Stats) { s.Refused++ })
	d.tell("message that nobody takes is refused", m.Topic.Kind, "bytes", len(m.Payload))
	return code, reason
}

const unwrittenText = "message from the cloud cannot be kept"

// unwritten refuses a message that the disk did not take.
func (d *Downlink) unwritten(q *queue, e entry, err error) (code byte, reason string) {
	d.count(func(s *Stats) { s.Unwritten++ })
	d.tell(unwrittenText, e.Topic.Kind, "error", err)
	if q.route.Mode == Newest {
		q.add(e)
	}
	if durable.LacksRoom(err) {
		return CodeNoRoom, "no room on disk"
	}
	return CodeUnspecified, "it cannot be written"
}

// tell logs a trouble once for each kind of message: a server may send without end. How often it happened says Stats.
func (d *Downlink) tell(text string, kind topics.Kind, args ...any) {
	key := text + kind.Word()
	if !d.told[key] {
		d.cfg.Log.Warn(text, append([]any{"kind", kind.Word()}, args...)...)
	}
	d.told[key] = true
}

func (d *Downlink) count(change func(*Stats)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.stats)
}

// Stats gives a copy. It may be called at any time.
func (d *Downlink) Stats() Stats {
	d.mu.Lock()
	s := d.stats
	d.mu.Unlock()
	for _, q := range d.queues {
		messages, bytes, expired := q.counts()
		s.Waiting, s.WaitingBytes, s.Expired = s.Waiting+messages, s.WaitingBytes+bytes, s.Expired+expired
	}
	return s
}
