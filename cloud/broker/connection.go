package broker

import (
	"bytes"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/cloud/access"
)

// connection is one TLS connection. It is the net.Conn that mochi reads from, and
// the one writer of everything we send: acknowledgements, messages, farewells.
// (CONNACK and PINGRESP come from mochi; tls.Conn takes whole packets from both.)
type connection struct {
	*tls.Conn
	broker *Broker
	client Client // written once by admit under Broker.mu, then read only

	// Owned by serve, that is by the reader.
	mochi    *mqtt.Client
	started  bool // the writer runs
	arrivals uint64
	head     [5]byte          // of the packet being read
	packet   []byte           // what the library has not read yet of a packet that is whole
	memory   *[firstRead]byte // of packet, or of its beginning; from Broker.packets
	last     byte             // of the packet read last
	level    byte             // protocol level of a CONNECT that is refused; 0: unknown
	departed bool             // the client sent DISCONNECT with reason code 0

	// Written by admit, then read only.
	key            string
	version        byte   // of MQTT: 4 (3.1.1) or 5
	maxPacket      uint32 // largest packet that the client takes; 0: any
	sessionPresent bool
	sessionExpiry  uint32 // to tell in CONNACK when it was cut; 0: as asked
	session        *session
	explain        bool // the client wants to know why

	kicked     atomic.Uint32         // kickedBit | reason code once the connection is to end
	admitted   atomic.Bool           // CONNECT was accepted: the writer runs or is about to
	broken     atomic.Bool           // a write has failed: no farewell of TLS either
	lingering  atomic.Bool           // the reader closes, not the writer; see leave
	why        atomic.Pointer[fault] // to be said in DISCONNECT; nil: the code says it all
	wake       chan struct{}         // capacity 1: there may be something to write
	closing    chan struct{}         // closed when the reader has ended
	writerDone chan struct{}         // closed when the writer has ended

	mu       sync.Mutex       // guards what follows
	uploads  []*upload        // QoS 1 publishes not acknowledged yet, in order
	acks     []ack            // in the order to be written
	control  []packets.Packet // SUBACK and UNSUBACK to be written
	uploads0 int              // QoS 0 publishes that the Handler holds
	space    chan struct{}    // capacity 1: an upload was acknowledged
}

// ack is a PUBACK to be written.
type ack struct {
	id   uint16
	code byte
	rule *access.Rule // of the table of access, that refuses; nil: none
}

const kickedBit = 1 << 8

func newConnection(b *Broker, conn *tls.Conn) *connection {
	return &connection{
		Conn: conn, broker: b,
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1),
		closing: make(chan struct{}), writerDone: make(chan struct{}),
	}
}

// SetDeadline sets the deadline for reading only: mochi calls it for the keep alive
// before each packet, and writes have their own in Write. Of one and a half keep
// alives mochi drops what is not a whole second, which of 1 s leaves nothing for a ping.
func (c *connection) SetDeadline(t time.Time) error {
	if c.mochi != nil && c.mochi.State.Keepalive%2 == 1 {
		t = t.Add(time.Second / 2)
	}
	return c.SetReadDeadline(t)
}

// Close ends the connection; without the farewell of TLS, which may block for
// seconds, when the client no longer reads.
func (c *connection) Close() error {
	if c.broken.Load() {
		return c.NetConn().Close()
	}
	return c.Conn.Close()
}

// Write sends whole packets, within the write timeout, or within a short one when
// the connection is to end.
func (c *connection) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.broker.cfg.WriteTimeout))
	if c.kicked.Load() != 0 { // kick stores before it sets its deadline: one of us is last
		_ = c.SetWriteDeadline(time.Now().Add(farewell))
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.broken.Store(true)
	}
	return n, err
}

// kick ends the connection without waiting: the writer sends DISCONNECT with the
// code (MQTT 5) and closes. A writer stuck on a client that does not read is
// unblocked by a short deadline. Only the first kick counts.
func (c *connection) kick(code byte) {
	if !c.kicked.CompareAndSwap(0, kickedBit|uint32(code)) {
		return
	}
	c.broker.counters.disconnects[code].Add(1)
	if !c.admitted.Load() {
		_ = c.Close()
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(farewell))
	c.signal()
}

// hangUp is kick for the reader: it waits until the farewell is written, so that
// mochi does not close the connection before.
func (c *connection) hangUp(code byte) { c.leave(code, 0) }

// signal wakes the writer.
func (c *connection) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// startWriter is called once CONNACK was written.
func (c *connection) startWriter() {
	c.started = true
	c.signal()
	go c.write() // stopWriter waits for it
}

// stopWriter ends the writer, if it runs, and waits for it. The reader has ended.
func (c *connection) stopWriter() {
	close(c.closing)
	if c.started {
		<-c.writerDone
	}
}

// write is the writer: it sleeps until signalled, then sends all there is.
func (c *connection) write() {
	defer close(c.writerDone)
	defer func() {
		if !c.lingering.Load() || c.broken.Load() || c.CloseWrite() != nil {
			_ = c.Close()
		}
	}()
	for {
		select {
		case <-c.wake:
		case <-c.closing:
			return
		}
		for {
			if kicked := c.kicked.Load(); kicked != 0 {
				c.farewell(byte(kicked))
				return
			}
			more, err := c.writeChunk()
			if err != nil {
				return
			}
			if !more {
				break
			}
		}
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
	c.mu.Unlock()
	for i := range control {
		encode(buf, &control[i], c.version)
	}
	for _, a := range acks {
		encode(buf, &packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: a.id, ReasonCode: a.code,
			Properties: packets.Properties{ReasonString: c.explanation(a)},
		}, c.version)
	}
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

// sendControl queues a SUBACK or UNSUBACK.
func (c *connection) sendControl(pk packets.Packet) {
	c.mu.Lock()
	c.control = append(c.control, pk)
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
