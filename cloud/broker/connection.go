package broker

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol/topics"
)

// connection is one TLS connection. Three goroutines work for it, and while it is silent only the second is there:
//
//	handshake, CONNECT, CONNACK   ends with them, and its deep stack with it; establish.go
//	reader                        until the connection ends; reader.go
//	writer                        while there is something to write; writer.go
type connection struct {
	*tls.Conn
	source *source // below it
	broker *Broker
	client Client // written once by admit under Broker.mu, then read only

	// Owned by whoever reads: first the goroutine of the handshake, then the reader.
	arrivals uint64
	aliases  []string // topics of the client's aliases, by alias; "": not set
	// The topic of the last publish, and what is in it; before the first: "", which is no topic.
	topicName string
	topic     topics.Topic
	head      [5]byte // of the packet being read
	level     byte    // protocol level of a CONNECT that is refused; 0: unknown
	placed    bool    // it counts in Broker.places
	departed  bool    // the client sent DISCONNECT with reason code 0

	// Written by admit, then read only.
	key            string
	version        byte   // of MQTT: 4 (3.1.1) or 5
	maxPacket      uint32 // largest packet that the client takes; 0: any
	keepAlive      uint16 // seconds, never 0
	keepAliveTold  bool   // it is not what the client has asked for
	sessionPresent bool
	sessionExpiry  uint32 // to tell in CONNACK when it was cut; 0: as asked
	session        *session
	explain        bool   // the client wants to know why
	assignedID     string // client identifier that the broker has chosen; "": the client has one

	kicked    atomic.Uint32         // kickedBit | reason code once the connection is to end
	admitted  atomic.Bool           // CONNECT was accepted: the writer may begin, or is about to
	broken    atomic.Bool           // a write has failed: no farewell of TLS either
	lingering atomic.Bool           // the reader closes, not the writer; see leave
	why       atomic.Pointer[fault] // to be said in DISCONNECT; nil: the code says it all
	writer    atomic.Int32          // one of writerUnstarted to writerOver

	mu       sync.Mutex // guards what follows
	changed  sync.Cond  // of mu: control was taken, an upload was acknowledged, or the writer has ended
	uploads  []*upload  // QoS 1 publishes not acknowledged yet, in order
	acks     []ack      // in the order to be written
	control  []byte     // SUBACK, UNSUBACK and PINGRESP to be written; sendControl bounds it
	uploads0 int        // QoS 0 publishes that the Handler holds
	ended    bool       // no writer is there, and none will be
}

// ack is a PUBACK to be written.
type ack struct {
	id   uint16
	code byte
	rule *access.Rule // of the table of access, that refuses; nil: none
}

const kickedBit = 1 << 8

func newConnection(b *Broker, conn net.Conn) *connection {
	s := newSource(conn, &b.chunks)
	c := &connection{Conn: tls.Server(s, b.cfg.TLS), source: s, broker: b}
	c.changed.L = &c.mu
	s.arm = func() {
		if c.admitted.Load() {
			c.limitWrite()
		}
	}
	return c
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
	c.limitWrite()
	n, err := c.Conn.Write(p)
	if err != nil {
		c.broken.Store(true)
	}
	return n, err
}

// limitWrite sets the deadline of a write that begins.
func (c *connection) limitWrite() {
	_ = c.SetWriteDeadline(time.Now().Add(c.broker.cfg.WriteTimeout))
	if c.kicked.Load() != 0 { // kick stores this before it sets its deadline, so the short deadline is always set last
		_ = c.SetWriteDeadline(time.Now().Add(farewell))
	}
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
// the connection is not closed before.
func (c *connection) hangUp(code byte) { c.leave(code, 0) }
