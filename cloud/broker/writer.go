package broker

import (
	"bytes"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// States of a writer. A connection that has nothing to write has no goroutine for it:
//
//	unstarted ──CONNACK──► idle ──signal──► busy ──signal──► again
//	                        ▲ all written ───┘◄── looks again ─┘     each of them ──► over
const (
	writerUnstarted int32 = iota // CONNACK was not written yet
	writerIdle                   // there is nothing to write
	writerBusy                   // a goroutine writes
	writerAgain                  // the same, and since it has looked there may be more
	writerOver                   // nothing is written any more
)

// startWriter is called once CONNACK was written.
func (c *connection) startWriter() {
	c.writer.Store(writerIdle)
	c.signal()
}

// signal says that there may be something to write. It never waits and takes no lock.
func (c *connection) signal() {
	for {
		switch c.writer.Load() {
		case writerIdle:
			if c.writer.CompareAndSwap(writerIdle, writerBusy) {
				c.broker.lend(c) // stopWriter waits for the end of write
				return
			}
		case writerBusy:
			if c.writer.CompareAndSwap(writerBusy, writerAgain) {
				return
			}
		default:
			return
		}
	}
}

// lend has a goroutine write for a connection: one that has written for another and rests, or else a new one. A new one would
// begin with a small stack that has to grow for TLS, which costs more than the write of an acknowledgement.
func (b *Broker) lend(c *connection) {
	select {
	case b.resting <- c:
	default:
		b.writers.Go(func() { b.writeFor(c) })
	}
}

// writeFor writes for one connection after the other. It ends with the broker, when enough others rest, or when nothing was to be
// written for a while.
func (b *Broker) writeFor(c *connection) {
	timer := time.NewTimer(restTime)
	defer timer.Stop()
	for c != nil {
		c.write()
		c = nil // it may be closed while this one rests
		if b.rests.Add(1) <= maxResting {
			timer.Reset(restTime)
			select {
			case c = <-b.resting:
			case <-timer.C:
			case <-b.over:
			}
		}
		b.rests.Add(-1)
	}
}

// write is the writer: it sends all there is, and ends.
func (c *connection) write() {
	for c.writer.Load() != writerOver {
		c.writer.CompareAndSwap(writerAgain, writerBusy) // before it looks: who signals later is seen below
		if kicked := c.kicked.Load(); kicked != 0 {
			_ = c.broker.survive(c, func() error { c.farewell(byte(kicked)); return nil })
			break
		}
		var more bool
		err := c.broker.survive(c, func() (err error) { more, err = c.writeChunk(); return err })
		if err != nil {
			break
		}
		if !more && c.writer.CompareAndSwap(writerBusy, writerIdle) {
			return
		}
	}
	if !c.lingering.Load() || c.broken.Load() || c.CloseWrite() != nil {
		_ = c.Close()
	}
	c.writer.Store(writerOver)
	c.mu.Lock()
	c.ended = true
	c.changed.Broadcast()
	c.mu.Unlock()
}

// stopWriter lets no writer begin any more, and waits for the one there is. The reader has ended.
func (c *connection) stopWriter() {
	before := c.writer.Swap(writerOver)
	c.mu.Lock()
	defer c.mu.Unlock()
	for before >= writerBusy && !c.ended {
		c.changed.Wait()
	}
	c.ended = true
}

// waitWriter returns when the writer has written its farewell.
func (c *connection) waitWriter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ended {
		c.changed.Wait()
	}
}

// writeChunk writes one chunk of what waits; false when nothing was waiting.
func (c *connection) writeChunk() (bool, error) {
	buf, _ := c.broker.buffers.Get().(*bytes.Buffer)
	if buf == nil {
		buf = bytes.NewBuffer(make([]byte, 0, writeChunk+1024))
	}
	buf.Reset()
	defer c.recycle(buf)
	c.encodeAcks(buf)
	if room := writeChunk - buf.Len(); room > 0 {
		for _, e := range c.session.next(c, room) {
			c.encodePublish(buf, e)
		}
	}
	if buf.Len() == 0 {
		return false, nil
	}
	_, err := c.Write(buf.Bytes())
	return true, err
}

// recycle keeps buffers of the usual size for the next writer.
func (c *connection) recycle(buf *bytes.Buffer) {
	if buf.Cap() <= 4*writeChunk {
		c.broker.buffers.Put(buf)
	}
}

// encodeAcks appends every acknowledgement that waits.
func (c *connection) encodeAcks(buf *bytes.Buffer) {
	c.mu.Lock()
	acks, control := c.acks, c.control
	c.acks, c.control = nil, nil
	if len(control) > 0 {
		c.changed.Broadcast()
	}
	c.mu.Unlock()
	buf.Write(control)
	for _, a := range acks {
		if a.code == codeSuccess { // the form without reason code and properties (section 3.4.2.1)
			buf.Write([]byte{packets.Puback << 4, 2, byte(a.id >> 8), byte(a.id)})
			continue
		}
		c.encodeRefusal(buf, a)
	}
}

// encodeRefusal appends a PUBACK that says more than success.
func (c *connection) encodeRefusal(buf *bytes.Buffer, a ack) {
	encode(buf, &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: a.id, ReasonCode: a.code,
		Properties: packets.Properties{ReasonString: c.explanation(a)},
	}, c.version)
}

// explanation is the Reason String of a refusal. It is left out when the client does not want
// it [MQTT-3.1.2-29], or when the packet would be larger than the client takes [MQTT-3.4.2-2].
func (c *connection) explanation(a ack) (text string) {
	switch {
	case a.code < refusedFrom || !c.explain:
		return ""
	case a.rule != nil:
		text = a.rule.Reason()
	case c.broker.cfg.Explain != nil:
		text = c.broker.cfg.Explain(a.code)
	}
	if len(text) > maxExplanation || c.maxPacket > 0 && int(c.maxPacket) < len(text)+pubackOverhead {
		return ""
	}
	return text
}

// sendControl queues a SUBACK, an UNSUBACK or a PINGRESP. It is called by the reader, which waits while more than
// writeChunk bytes are queued: a client that asks and does not read pays itself.
func (c *connection) sendControl(packet []byte) {
	c.mu.Lock()
	for len(c.control) > writeChunk && !c.ended {
		c.changed.Wait()
	}
	if !c.ended {
		c.control = append(c.control, packet...)
	}
	c.mu.Unlock()
	c.signal()
}

// farewell writes what is already acknowledged and then DISCONNECT, which MQTT 3.1.1 does not know.
func (c *connection) farewell(code byte) {
	var buf bytes.Buffer
	c.encodeAcks(&buf)
	if c.version == 5 {
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code, Mods: packets.Mods{MaxSize: c.maxPacket},
		}
		if why := c.why.Load(); why != nil && why.code == code {
			pk.Properties.ReasonString = why.text // left out when the client does not take such a large packet
		}
		encode(&buf, &pk, 5)
	}
	if buf.Len() > 0 {
		_, _ = c.Write(buf.Bytes())
	}
}

// encode appends one packet of those we write. The codec fails only on packets
// that we never make (a QoS 1 publish without id); such a packet is left out.
func encode(buf *bytes.Buffer, pk *packets.Packet, version byte) {
	pk.ProtocolVersion = version
	switch pk.FixedHeader.Type {
	case packets.Puback:
		_ = pk.PubackEncode(buf)
	case packets.Suback:
		_ = pk.SubackEncode(buf)
	case packets.Unsuback:
		_ = pk.UnsubackEncode(buf)
	case packets.Disconnect:
		_ = pk.DisconnectEncode(buf)
	case packets.Publish:
		_ = pk.PublishEncode(buf)
	}
}
