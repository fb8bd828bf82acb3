package broker

import (
	"bytes"
	"errors"
	"os"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// receive waits for the next packet and gives it whole and checked: the first byte of its header, and what follows
// the remaining length, which the caller owns. What is wrong with a packet is said to the client before the connection
// ends: in a CONNACK before it was accepted, in a DISCONNECT afterwards. It is called by whoever reads, only.
//
// A packet costs memory as it arrives, not as it is announced.
func (c *connection) receive() (first byte, body []byte, err error) {
	head := c.head[:2]
	err = c.readFull(head)
	for err == nil && head[len(head)-1] >= 0x80 {
		if len(head) == cap(head) {
			return 0, nil, c.reject(malformed("remaining length has more than 4 bytes"), 0)
		}
		head = head[:len(head)+1]
		err = c.readFull(head[len(head)-1:])
	}
	if err != nil {
		return 0, nil, c.readFailed(err)
	}
	length := 0
	for i, b := range head[1:] {
		length |= int(b&0x7f) << (7 * i)
	}
	if len(head)+length > maxPacket {
		return 0, nil, c.tooLarge(length)
	}
	if length > firstRead && c.admitted.Load() { // a large packet has less time than a silence
		_ = c.SetReadDeadline(earlier(c.deadline(), time.Now().Add(packetTime)))
	}
	if body, err = c.body(length); errors.Is(err, errNoMemory) {
		return 0, nil, c.reject(&fault{codeQuota, "too much is on its way to this server"}, 0)
	} else if err != nil {
		return 0, nil, c.readFailed(err)
	}
	if f := c.check(head, body); f != nil {
		return 0, nil, c.reject(f, 0)
	}
	return head[0], body, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

var errNoMemory = errors.New("packets that arrive have no more memory")

// body reads what follows the header of a packet, into memory of its own that grows with what arrives. All clients together
// have a bound for the memory of packets that are longer than firstRead. A packet that exceeds it gives errNoMemory, and the
// connection of its client ends.
func (c *connection) body(length int) ([]byte, error) {
	body := make([]byte, min(length, firstRead))
	if length <= firstRead {
		return body, c.readFull(body)
	}
	taken := int64(0)
	defer func() { c.broker.arriving.Add(-taken) }()
	for have := 0; ; {
		if err := c.readFull(body[have:]); err != nil {
			return nil, err
		}
		if have = len(body); have == length {
			return body, nil
		}
		size := min(length, 2*have)
		more := int64(size - have)
		taken += more
		if c.broker.arriving.Add(more) > c.broker.cfg.MaxArrivingBytes {
			return nil, errNoMemory
		}
		larger := make([]byte, size)
		copy(larger, body)
		body = larger
	}
}

// check says what is wrong with a packet, nil when nothing is.
func (c *connection) check(head, body []byte) *fault {
	if c.version >= level5 || !c.admitted.Load() {
		if n := len(head); n > 2 && head[n-1] == 0 {
			return malformed("remaining length is not in its shortest form") // [MQTT-1.5.5-1]; 3.1.1 allows it
		}
	}
	if c.admitted.Load() {
		return checkPacket(c.version, head[0], body)
	}
	if head[0]>>4 != packets.Connect {
		return errFirstPacket // [MQTT-3.1.0-1]; nothing may be answered [MQTT-3.14.0-1]
	}
	level, f := checkConnect(head[0]&0x0f, body)
	c.level = level
	return f
}

var errFirstPacket = protocolError("the first packet is not CONNECT")

// tooLarge refuses a packet unread, of a CONNECT all but its protocol level.
func (c *connection) tooLarge(length int) error {
	f := &fault{codeTooLarge, "packet is larger than the maximum packet size"}
	if !c.admitted.Load() && c.head[0]>>4 == packets.Connect {
		const nameAndLevel = 7 // of "MQTT"
		start := make([]byte, nameAndLevel)
		_ = c.SetReadDeadline(time.Now().Add(farewell))
		if c.readFull(start) != nil {
			return f
		}
		length -= nameAndLevel
		if bytes.HasPrefix(start, []byte("\x00\x04MQTT")) {
			c.level = start[nameAndLevel-1]
		}
	}
	return c.reject(f, length)
}

// readFailed is the end of a connection whose client is silent, or gone.
func (c *connection) readFailed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && c.admitted.Load() && c.kicked.Load() == 0 {
		c.hangUp(codeKeepAlive) // [MQTT-3.1.2-22], section 4.13
	}
	return err
}

// reject tells the client what is wrong and ends the connection; unread bytes of the
// packet are still on their way.
func (c *connection) reject(f *fault, unread int) error {
	if c.admitted.Load() {
		c.why.Store(f)
		c.leave(f.code, unread)
		return f
	}
	if f != errFirstPacket && c.refuse(f) {
		c.drain(unread)
	}
	return f
}

// refuse answers a CONNECT with a CONNACK, in the form of its protocol level. MQTT 3.1.1
// has one for an unknown level only; what is malformed is closed without [MQTT-3.1.4-1].
func (c *connection) refuse(f *fault) bool {
	var buf bytes.Buffer
	switch {
	case c.level >= level5:
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Connack}, ProtocolVersion: level5, ReasonCode: f.code,
			Properties: packets.Properties{ReasonString: f.text},
		}
		_ = pk.ConnackEncode(&buf) // never fails
		c.broker.counters.connects[f.code].Add(1)
	case c.level > 0 && f.code == codeVersion:
		buf.WriteString("\x20\x02\x00\x01") // unacceptable protocol version
		c.broker.counters.connects[1].Add(1)
	default:
		return false
	}
	_, err := c.Write(buf.Bytes())
	return err == nil && c.CloseWrite() == nil
}

// leave ends the connection from its reader: it waits until the DISCONNECT is written,
// and then until the client has closed, or had the time to read it.
func (c *connection) leave(code byte, unread int) {
	c.lingering.Store(true)
	c.kick(code)
	c.waitWriter()
	c.drain(unread)
}

// drain reads what the client has still sent, and throws it away: a socket that is closed
// with bytes unread is reset, and our last word may be lost with it. The bounds are per
// connection: maxDrain bytes, and drainTime, or for what is known to be on its way lingerTime.
func (c *connection) drain(unread int) {
	buf := make([]byte, drainBuffer)
	limit := time.Now().Add(lingerTime)
	for left := maxDrain; left > 0; {
		pause := drainTime
		if unread > 0 {
			pause = farewell
		}
		deadline := time.Now().Add(pause)
		if limit.Before(deadline) {
			deadline = limit
		}
		_ = c.SetReadDeadline(deadline)
		n, err := c.readSome(buf)
		if err != nil {
			return
		}
		left -= n
		unread -= n
	}
}
