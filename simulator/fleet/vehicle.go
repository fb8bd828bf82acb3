package fleet

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

const (
	// floodWindow bounds what a flooding vehicle has in flight, whatever the broker allows.
	floodWindow = 64
	// refusedPause is how long a normal vehicle is silent after a refusal; an agent would back off for longer.
	refusedPause = 200 * time.Millisecond
	// reconnectMin and as much jitter again is the wait before another try to connect.
	reconnectMin = time.Second
	// drainTime is how long the last acknowledgements are waited for.
	drainTime = 5 * time.Second
)

// vehicle is one light vehicle. Its fields are owned by the writer except where said.
type vehicle struct {
	Identity
	run      *run
	group    *group // normal or flooding
	interval time.Duration
	window   int
	config   *tls.Config

	template *packets.ControlPacket
	id       protocol.MessageID
	buf      []byte
	due      time.Time // of the next publish

	connection uint64 // counts from 1

	quiet atomic.Int64 // ns of run.clock: nothing is published before
}

// session is one connection of a vehicle.
type session struct {
	*vehicle
	wire *wire
	free chan uint16    // packet identifiers that may be used
	sent []atomic.Int64 // by packet identifier: ns of run.clock of its publish; 0: not in flight
	done chan struct{}  // closed when the reader has ended
	err  error          // why; valid once done is closed
}

// drive connects, publishes until stop is done, and connects again after a loss.
// first is called once, after the first attempt.
func (v *vehicle) drive(ctx, stop context.Context, first func()) {
	for stop.Err() == nil {
		s, err := v.connect(ctx)
		first()
		first = func() {}
		if err == nil {
			v.run.connected.Add(1)
			err = s.publishAll(ctx, stop)
			if stop.Err() == nil { // at the end the number stays for the summary
				v.run.connected.Add(-1)
			}
		}
		if err == nil || stop.Err() != nil {
			return
		}
		v.run.fail(err)
		pause(stop, reconnectMin+rand.N(reconnectMin))
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connect opens a connection that is ready for batches.
func (v *vehicle) connect(ctx context.Context) (*session, error) {
	if !v.run.enter(ctx) {
		return nil, ctx.Err()
	}
	defer v.run.leave()
	v.connection++
	will, err := v.presence(protocol.PresenceLost)
	if err != nil {
		return nil, err
	}
	w, err := dial(ctx, v.run.cfg.Address, v.config, string(v.Device), will.Content.(*packets.Publish))
	if err != nil {
		return nil, err
	}
	window := min(v.window, w.receiveMaximum)
	s := &session{
		vehicle: v, wire: w, free: make(chan uint16, window), sent: make([]atomic.Int64, window), done: make(chan struct{}),
	}
	for id := range window {
		s.free <- uint16(id + 1)
	}
	if err := s.announce(ctx); err != nil {
		w.close()
		return nil, err
	}
	return s, nil
}

// presence is what the vehicle, or its will, says of the connection: retained, and with
// QoS 0, because a broker that does not answer is found out by what is measured.
func (v *vehicle) presence(state protocol.PresenceState) (*packets.ControlPacket, error) {
	payload, err := document.Marshal(protocol.Presence{
		Version: 1, State: state, Device: v.Device, Boot: v.id.Boot, Connection: v.connection, At: time.Now().UnixMilli(), Agent: "telltale fleet",
	})
	if err != nil {
		return nil, err
	}
	topic := topics.Topic{Kind: topics.Presence, Vehicle: v.Vehicle, Device: v.Device}
	p := publish(topic.String(), protocol.ContentPresence)
	body := p.Content.(*packets.Publish)
	body.QoS, body.Retain, body.Payload = 0, true, payload
	return p, nil
}

// say publishes the presence.
func (s *session) say(state protocol.PresenceState) error {
	p, err := s.presence(state)
	if err != nil {
		return err
	}
	return s.wire.send(p)
}

// announce says that the vehicle is online, and has the schema document acknowledged, when there is one.
func (s *session) announce(ctx context.Context) error {
	if err := s.say(protocol.PresenceOnline); err != nil {
		return err
	}
	b, ok := s.run.payloads.(*realBatches)
	if !ok {
		return nil
	}
	p, err := b.schema(s.Identity)
	if err != nil {
		return err
	}
	p.Content.(*packets.Publish).PacketID = 1
	defer context.AfterFunc(ctx, func() { _ = s.wire.conn.Close() })()
	_ = s.wire.conn.SetReadDeadline(time.Now().Add(connectTimeout))
	if err := s.wire.send(p); err != nil {
		return err
	}
	_, code, err := s.wire.acknowledgement()
	if err == nil && code >= refusedFrom {
		err = &codeError{"PUBACK of the schema", code}
	}
	_ = s.wire.conn.SetReadDeadline(time.Time{})
	return err
}

// publishAll runs the session: nil when stop ended it, else why it was lost.
func (s *session) publishAll(ctx, stop context.Context) error {
	abort := context.AfterFunc(ctx, func() { _ = s.wire.conn.SetDeadline(time.Now()) })
	defer abort()
	go s.read() // finish waits for it
	defer s.finish()
	select {
	case <-s.run.gate:
	case <-s.done:
		return s.err
	case <-stop.Done():
		return nil
	}
	err := s.write(stop)
	if err == nil {
		s.drain(ctx)
	}
	return err
}

// write publishes at the vehicle's rate until stop is done.
func (s *session) write(stop context.Context) error {
	if s.interval > 0 && s.due.IsZero() {
		s.due = time.Now().Add(rand.N(s.interval)) // not all at once
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for stop.Err() == nil {
		if wait := s.wait(); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-s.done:
				return s.err
			case <-stop.Done():
				return nil
			}
			continue
		}
		select {
		case id := <-s.free:
			if err := s.publish(id); err != nil {
				return err
			}
		case <-s.done:
			return s.err
		case <-stop.Done():
		}
	}
	return nil
}

// wait says how long until the next publish may leave.
func (s *session) wait() time.Duration {
	if s.group.flooding {
		if phase, left := s.run.phase(s.run.clock()); phase%2 == 0 {
			return left
		}
		if s.interval == 0 {
			return 0
		}
		return time.Until(s.due)
	}
	if quiet := time.Duration(s.quiet.Load()); quiet > 0 {
		if left := quiet - s.run.clock(); left > 0 {
			return left
		}
	}
	if s.interval == 0 {
		return 0
	}
	return time.Until(s.due)
}

func (s *session) publish(packet uint16) error {
	body := s.template.Content.(*packets.Publish)
	s.id.Seq++
	var err error
	if s.buf, err = s.run.payloads.fill(body, s.id, s.buf); err != nil {
		return err
	}
	body.PacketID = packet
	s.sent[packet-1].Store(int64(s.run.clock()))
	s.group.published.Add(1)
	s.run.bytes.Add(uint64(len(body.Payload)))
	if s.interval > 0 { // late ones are not made up for: the rate is a limit
		s.due = s.due.Add(s.interval)
		if now := time.Now(); s.due.Before(now) {
			s.due = now
		}
	}
	return s.wire.send(s.template)
}

// read takes acknowledgements until the connection ends.
func (s *session) read() {
	defer close(s.done)
	for {
		id, code, err := s.wire.acknowledgement()
		if err != nil {
			s.err = err
			return
		}
		if id == 0 || int(id) > len(s.sent) {
			s.err = errMalformed
			return
		}
		sent := time.Duration(s.sent[id-1].Swap(0))
		if sent == 0 {
			s.err = errMalformed
			return
		}
		s.acknowledged(code, sent)
		s.free <- id // never blocks: there are as many places as identifiers
	}
}

// acknowledged counts the answer to a publish.
func (s *session) acknowledged(code byte, sent time.Duration) {
	now := s.run.clock()
	s.group.acknowledge(code, now-sent)
	switch {
	case s.group.flooding:
	case code >= refusedFrom:
		s.quiet.Store(int64(now + refusedPause))
	case s.run.cfg.Pulse > 0:
		phase, _ := s.run.phase(sent)
		if phase >= maxPhases {
			phase = maxPhases - 2 + phase%2
		}
		s.run.phases[phase].Record(now - sent)
	}
}

// drain waits for the acknowledgements that are still due.
func (s *session) drain(ctx context.Context) {
	late := time.NewTimer(drainTime)
	defer late.Stop()
	for range cap(s.free) {
		select {
		case <-s.free:
		case <-s.done:
			return
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// finish says goodbye and ends the reader.
func (s *session) finish() {
	_ = s.say(protocol.PresenceOffline) // the connection may be lost: then the will says it
	s.wire.close()
	<-s.done
}
