package uplink_test

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
)

// memory is an uplink.Buffer in memory.
type memory struct {
	classes map[protocol.Priority][]buffer.Entry
	acked   map[buffer.Position]bool
	expired []buffer.Position
	fail    error // of Read
}

func (m *memory) Read(after buffer.Position, class protocol.Priority, most, _ int) (found []buffer.Entry, err error) {
	for _, e := range m.classes[class] {
		if !m.acked[e.Position] && after.Before(e.Position) && len(found) < most {
			found = append(found, e)
		}
	}
	return found, m.fail
}

func (m *memory) End(class protocol.Priority) buffer.Position {
	if all := m.classes[class]; len(all) > 0 {
		return all[len(all)-1].Position
	}
	return buffer.Position{Class: class}
}

func (m *memory) Ack(p buffer.Position)     { m.acked[p] = true }
func (m *memory) Expire(p buffer.Position)  { m.Ack(p); m.expired = append(m.expired, p) }
func (m *memory) Appended() <-chan struct{} { return nil }

// rig is an uplink with one connection after another, and what it published.
type rig struct {
	*uplink.Uplink
	*uplink.Sender
	t       *testing.T
	buf     *memory
	schemas map[protocol.SchemaHash][]byte
	now     time.Time
	limits  session.Limits

	got    []*paho.Publish // of this connection, in order
	tokens []any           // that are under way
	broken error           // of the next publishes
	bears  bool            // what is deadly ends no connection any more
}

func (r *rig) Schema(h protocol.SchemaHash) ([]byte, bool) {
	doc, ok := r.schemas[h]
	return doc, ok
}

// newRig has a connection to a server that allows a window.
func newRig(t *testing.T, window int) *rig {
	r := &rig{
		t: t, buf: &memory{classes: map[protocol.Priority][]buffer.Entry{}, acked: map[buffer.Position]bool{}},
		schemas: map[protocol.SchemaHash][]byte{}, now: time.Now(), limits: session.Limits{Window: window, Retain: true},
	}
	r.Uplink = uplink.New(uplink.Config{
		Vehicle: "anna", Buffer: r.buf, Schemas: r, BackoffMin: time.Second, BackoffMax: time.Minute, AckTimeout: 30 * time.Second,
		Log: slog.New(slog.DiscardHandler),
	})
	r.connect()
	return r
}

// connect makes a new connection.
func (r *rig) connect() {
	r.got, r.tokens = nil, nil
	r.Sender = r.Connect("server", r.limits, func(token any, p *paho.Publish, _ bool) error {
		if r.broken != nil {
			return r.broken
		}
		r.got = append(r.got, p)
		if p.QoS > 0 {
			r.tokens = append(r.tokens, token)
		}
		return nil
	})
}

// add appends a record of a class; change may edit it.
func (r *rig) add(class protocol.Priority, payload string, change ...func(*buffer.Record)) {
	rec := buffer.Record{Priority: class, Topic: "v1/anna/up/telemetry/c", Payload: []byte(payload), Created: r.now, TTL: time.Hour}
	for _, c := range change {
		c(&rec)
	}
	pos := buffer.Position{Class: class, Segment: 1, Index: uint32(len(r.buf.classes[class]))}
	r.buf.classes[class] = append(r.buf.classes[class], buffer.Entry{Position: pos, Record: rec})
	if r.Sender != nil {
		r.Appended()
	}
}

func ordered(rec *buffer.Record) { rec.Ordered = true }

// fill lets it send what it can, after a time, and gives the payloads of that.
func (r *rig) fill(after time.Duration) (payloads []string) {
	r.t.Helper()
	r.now = r.now.Add(after)
	before := len(r.got)
	if err := r.Fill(r.now); err != nil && !errors.Is(err, r.broken) {
		r.t.Errorf("Fill: %v", err)
	}
	for _, p := range r.got[before:] {
		payloads = append(payloads, string(p.Payload))
	}
	return payloads
}

// answer answers the oldest publish under way.
func (r *rig) answer(code byte) {
	r.t.Helper()
	if len(r.tokens) == 0 {
		r.t.Fatal("nothing is under way")
	}
	token := r.tokens[0]
	r.tokens = r.tokens[1:]
	r.Answered(session.Answer{Token: token, Code: code}, r.now)
}

func (r *rig) schema(text string) protocol.SchemaHash {
	h := protocol.SchemaHash(sha256.Sum256([]byte(text)))
	r.schemas[h] = []byte(text)
	return h
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
