package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/topics"
)

// fault is why a message cannot be processed, now or whenever it is read again
// with the same schemas.
type fault struct {
	reason reasons.Reason
	err    error
}

func faultOf(reason reasons.Reason, format string, args ...any) *fault {
	return &fault{reason, fmt.Errorf(format, args...)}
}

// envelope is what a message's headers say.
type envelope struct {
	topic    topics.Topic
	device   protocol.DeviceID  // of the client certificate
	id       protocol.MessageID // of the user property, if it is the device's own; else zero
	received time.Time
	origin   string // of a replay: where the dead letter came from; else empty
	consumer string // of the replay of a consumer's dead letter: its name; else empty
}

// process brings one message where it belongs. It gives false when ctx ended
// before it was done; nothing has happened then that a second time would repeat.
func (p *Processor) process(ctx context.Context, m *Message) bool {
	e, f := openEnvelope(m)
	switch {
	case f != nil:
	case e.consumer != "":
		p.replayTo(m, &e)
	case e.topic.Kind == topics.Telemetry:
		f = p.batch(ctx, m, &e)
	default:
		f = p.other(ctx, m, &e)
	}
	if ctx.Err() != nil && f != nil && errors.Is(f.err, ctx.Err()) {
		return false
	}
	p.stats.messages.Add(1)
	if f != nil {
		p.bury(ctx, m, &e, f)
	}
	return true
}

func openEnvelope(m *Message) (e envelope, f *fault) {
	var err error
	e.received, e.origin, e.consumer = received(m), m.Header[HeaderOrigin], m.Header[HeaderConsumer]
	if e.topic, err = topics.Parse(m.Header[HeaderTopic]); err != nil {
		return e, faultOf(reasons.ValidationFailed, "header: %w", err)
	}
	if e.device, err = protocol.ParseDeviceID(m.Header[HeaderDevice]); err != nil {
		return e, faultOf(reasons.ValidationFailed, "header: %w", err)
	}
	property, ok := m.Header[HeaderProperty+protocol.PropMessageID]
	if !ok {
		return e, nil
	}
	id, err := protocol.ParseMessageID(unescape(property))
	if err != nil {
		return e, faultOf(reasons.ValidationFailed, "property: %w", err)
	}
	if id.Device != e.device {
		return e, faultOf(reasons.NotAuthorized, "property: message id names another device than the certificate")
	}
	if id.Seq > math.MaxInt64 {
		return e, faultOf(reasons.ValidationFailed, "property: sequence: expected less than 2^63")
	}
	e.id = id
	return e, nil
}

// batch is the way of a telemetry batch. A nil fault means stored, or dropped as a duplicate.
func (p *Processor) batch(ctx context.Context, m *Message, e *envelope) *fault {
	h, f := openHeader(m.Data, e)
	if f != nil {
		return f
	}
	if done, f := p.known(h.ID, m, e); done || f != nil {
		return f
	}
	claim, err := measure(m.Data)
	p.units += claim.Plain/plainUnits + claim.Evicted*evictedUnits + claim.Rows/8
	if errors.Is(err, document.ErrLimit) {
		return &fault{reasons.TooLarge, err}
	}
	schema, f := p.schema(ctx, h.Schema)
	if f != nil {
		return f
	}
	if f := vetClaim(m, e, schema, claim, err); f != nil {
		return f
	}
	p.units += claim.Cells
	if e.origin == "" { // a replay is no doing of the vehicle's
		p.debit(e.topic.Vehicle, urgent(m), claim.Cells)
	}
	b, f := decode(m.Data, schema)
	if f != nil {
		return f
	}
	d := newDecoded(p.cfg.Name, m, e, schema, b)
	if f := p.fits(m, e, d); f != nil {
		if e.origin == "" && setsAside(f) {
			p.stats.aside.Add(1)
		}
		return f
	}
	p.ledger.Receive(d.Vehicle, h.ID, ledger.Receipt{
		Sequence: m.Sequence, Bytes: d.Bytes, Batch: true,
		Samples: uint64(d.Samples), Dropped: b.Drops, Evicted: bounded(b.Evicted),
	})
	p.stats.batches.Add(1)
	p.stats.samples.Add(uint64(d.Samples))
	p.stats.bytes.Add(uint64(d.Bytes))
	p.store(d)
	p.hand(handed{message: m, topic: e.topic, batch: d})
	return nil
}

// vetClaim says what stands against a batch before it is expanded; err is that of measuring it.
func vetClaim(m *Message, e *envelope, schema *schemas.Schema, claim batches.Claim, err error) *fault {
	if errors.Is(err, document.ErrLimit) {
		return &fault{reasons.TooLarge, err}
	}
	if err != nil {
		return &fault{reasons.Undecodable, err}
	}
	if err := claim.Check(schema.Tick, len(m.Data)); err != nil {
		return &fault{reasons.TooLarge, err}
	}
	if schema.Campaign != e.topic.Campaign {
		return faultOf(reasons.ValidationFailed, "campaign of the schema differs from that of the topic")
	}
	return nil
}

// setsAside says whether a fault is one of the times of a batch.
func setsAside(f *fault) bool { return f.reason == reasons.Time || f.reason == reasons.Unsynced }

// fits holds a batch against the bounds of its times and what the lake can represent. It may be called from any goroutine.
func (p *Processor) fits(m *Message, e *envelope, d *Decoded) *fault {
	if d.first <= d.last && d.first >= 0 { // else the lake says what is wrong with it
		if f := p.cfg.Times.check(m, d.Batch.TimeQuality, e.received, d.first, d.last); f != nil {
			return f
		}
	}
	if err := p.cfg.Lake.Fits(d.Schema, d.Batch); err != nil {
		return faultOf(reasons.ValidationFailed, "%w", err)
	}
	return nil
}

// newDecoded joins what is known of a batch.
func newDecoded(stream string, m *Message, e *envelope, schema *schemas.Schema, b *batches.Batch) *Decoded {
	d := &Decoded{
		Stream: stream, Sequence: m.Sequence, Vehicle: e.topic.Vehicle, Device: e.device,
		Header: b.Header, Campaign: schema.Campaign, Purpose: purpose(m), Schema: schema, Batch: b,
		Samples: b.Samples(), Bytes: len(m.Data), Received: e.received,
	}
	d.first, d.last = extent(b)
	for i := range b.Rows {
		d.cells += len(b.Rows[i].Time) * (1 + len(b.Rows[i].Columns))
	}
	return d
}

// hand gives a new message to the consumers that want it.
func (p *Processor) hand(h handed) {
	for _, c := range p.consumers {
		if c.wants(h.topic) {
			c.hand(h)
		}
	}
}

// replayTo brings the replay of a consumer's dead letter to that consumer alone: for all others it is done.
func (p *Processor) replayTo(m *Message, e *envelope) {
	p.stats.replayed.Add(1)
	for _, c := range p.consumers {
		if c.Name == e.consumer {
			c.handAgain(m.Sequence)
			return
		}
	}
	p.cfg.Log.Warn("the replay of a dead letter names a consumer that there is not", "consumer", e.consumer)
}

// other is the way of all other messages.
func (p *Processor) other(ctx context.Context, m *Message, e *envelope) *fault {
	if e.id.Seq != 0 {
		if done, f := p.known(e.id, m, e); done || f != nil {
			return f
		}
		p.ledger.Receive(e.topic.Vehicle, e.id, ledger.Receipt{Sequence: m.Sequence, Bytes: len(m.Data)})
	}
	p.stats.others.Add(1)
	p.hand(handed{message: m, topic: e.topic, other: newOther(p.cfg.Name, m, e)})
	return nil
}

func newOther(stream string, m *Message, e *envelope) *Word {
	return &Word{
		Stream: stream, Sequence: m.Sequence, Topic: e.topic, Device: e.device, ID: e.id,
		ContentType: unescape(m.Header[HeaderContent]), Properties: properties(m.Header), Payload: m.Data, Received: e.received,
	}
}

// openHeader reads the batch's header and holds it against the envelope.
func openHeader(payload []byte, e *envelope) (h batches.Header, f *fault) {
	defer catch(&f)
	h, err := batches.ParseHeader(payload)
	switch {
	case err != nil:
		return h, faultOf(reasons.Undecodable, "batch: %w", err)
	case h.ID.Device != e.device:
		return h, faultOf(reasons.NotAuthorized, "batch names another device than the certificate")
	case e.id.Seq != 0 && h.ID != e.id:
		return h, faultOf(reasons.ValidationFailed, "message id of the batch differs from that of the property")
	case h.ID.Seq == 0 || h.ID.Seq > math.MaxInt64:
		return h, faultOf(reasons.ValidationFailed, "batch: sequence: expected 1 to 2^63-1")
	}
	return h, nil
}

// known drops what is stored already: done is true then.
func (p *Processor) known(id protocol.MessageID, m *Message, e *envelope) (done bool, f *fault) {
	switch p.ledger.Check(e.topic.Vehicle, id) {
	case ledger.Duplicate:
		p.ledger.Repeat(e.topic.Vehicle, id, m.Sequence, e.origin != "")
		if e.origin != "" {
			p.stats.replayed.Add(1)
		} else {
			p.stats.duplicates.Add(1)
		}
		return true, nil
	case ledger.TooOld:
		return false, faultOf(reasons.ValidationFailed, "older than the ledger remembers of this boot")
	}
	return false, nil
}

// measure says what the batch claims to hold, before anything is expanded.
func measure(payload []byte) (claim batches.Claim, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder panicked: %v", r)
		}
	}()
	return batches.Measure(payload)
}

func decode(payload []byte, schema *schemas.Schema) (b *batches.Batch, f *fault) {
	defer catch(&f)
	b, err := batches.Decode(payload, schema)
	if err != nil {
		return nil, faultOf(reasons.Undecodable, "batch: %w", err)
	}
	return b, nil
}

// catch turns a panic of a decoder into a fault. A decoder must not panic, but
// if one did, the same message would stop the processor after each restart.
func catch(f **fault) {
	if r := recover(); r != nil {
		*f = faultOf(reasons.Internal, "decoder panicked: %v", r)
	}
}

// bounded limits declared evictions to sequences that there can be.
func bounded(in []protocol.SeqRange) (out []protocol.SeqRange) {
	for _, r := range in {
		r.From, r.To = max(r.From, 1), min(r.To, math.MaxInt64)
		if r.From <= r.To {
			out = append(out, r)
		}
	}
	return out
}
