package fleet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const (
	// connectTimeout is for TCP, TLS and CONNACK together.
	connectTimeout = 20 * time.Second
	// writeTimeout is for one publish: a broker that takes nothing for so long is given up.
	writeTimeout = 20 * time.Second
	// readBuffer holds several PUBACKs.
	readBuffer = 512
	// maxInbound bounds a packet of the broker, in bytes. We subscribe to nothing.
	maxInbound = 16 << 10
	// refusedFrom is the first reason code that means no.
	refusedFrom = 0x80
)

// codeError is a CONNACK or DISCONNECT of the broker with its reason code.
type codeError struct {
	packet string
	code   byte
}

func (e *codeError) Error() string {
	return fmt.Sprintf("%s with reason code 0x%02X", e.packet, e.code)
}

// errMalformed: the broker said something that is not MQTT, or not in its place.
var errMalformed = errors.New("broker sent a malformed or unexpected packet")

// wire is one MQTT connection. One goroutine may read while another one writes.
type wire struct {
	conn *tls.Conn
	in   *bufio.Reader // owned by the reader
	body []byte        // of the packet read last; owned by the reader
	out  bytes.Buffer  // owned by the writer

	receiveMaximum int // from CONNACK
}

// dial connects as the client id, with a clean session that ends with the connection, and a will.
func dial(ctx context.Context, address string, config *tls.Config, id string, will *packets.Publish) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: tls.Client(raw, config)}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err = w.establish(ctx, id, will)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) establish(ctx context.Context, id string, will *packets.Publish) error {
	if err := w.conn.HandshakeContext(ctx); err != nil {
		return err
	}
	w.in = bufio.NewReaderSize(w.conn, readBuffer)
	hello := packets.NewControlPacket(packets.CONNECT)
	c := hello.Content.(*packets.Connect)
	c.ClientID, c.CleanStart = id, true
	c.WillFlag, c.WillTopic, c.WillMessage, c.WillQOS, c.WillRetain = true, will.Topic, will.Payload, 1, true
	c.WillProperties = &packets.Properties{}
	if err := w.send(hello); err != nil {
		return err
	}
	kind, body, err := w.read()
	if err != nil {
		return err
	}
	answer := packets.Connack{Properties: &packets.Properties{}}
	if kind != packets.CONNACK || answer.Unpack(bytes.NewBuffer(body)) != nil {
		return errMalformed
	}
	if answer.ReasonCode >= refusedFrom {
		return &codeError{"CONNACK", answer.ReasonCode}
	}
	w.receiveMaximum = 65535 // [MQTT-5.0, 3.2.2.3.3]
	if n := answer.Properties.ReceiveMaximum; n != nil {
		w.receiveMaximum = int(*n)
	}
	return nil
}

// send writes one packet, in one TLS record if it fits.
func (w *wire) send(p *packets.ControlPacket) error {
	w.out.Reset()
	if _, err := p.WriteTo(&w.out); err != nil {
		return err
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.conn.Write(w.out.Bytes())
	return err
}

// publish is a packet of QoS 1.
func publish(topic, contentType string, user ...packets.User) *packets.ControlPacket {
	p := packets.NewControlPacket(packets.PUBLISH)
	body := p.Content.(*packets.Publish)
	body.Topic, body.QoS = topic, 1
	body.Properties.ContentType, body.Properties.User = contentType, user
	return p
}

// read gives the type and body of the next packet; the body is valid until the next read.
func (w *wire) read() (kind byte, body []byte, err error) {
	first, err := w.in.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(w.in) // MQTT's variable byte integer is little-endian base 128, too
	switch {
	case err != nil:
		return 0, nil, err
	case size > maxInbound:
		return 0, nil, errMalformed
	case int(size) > cap(w.body):
		w.body = make([]byte, max(size, 64))
	}
	w.body = w.body[:size]
	_, err = io.ReadFull(w.in, w.body)
	return first >> 4, w.body, err
}

// acknowledgement waits for the next PUBACK.
func (w *wire) acknowledgement() (id uint16, code byte, err error) {
	for {
		kind, body, err := w.read()
		switch {
		case err != nil:
			return 0, 0, err
		case kind == packets.PUBACK && len(body) >= 2:
			if len(body) > 2 { // else 0: success [MQTT-5.0, 3.4.2.1]
				code = body[2]
			}
			return binary.BigEndian.Uint16(body), code, nil
		case kind == packets.DISCONNECT:
			code := byte(0)
			if len(body) > 0 {
				code = body[0]
			}
			return 0, 0, &codeError{"DISCONNECT", code}
		case kind != packets.PINGRESP:
			return 0, 0, errMalformed
		}
	}
}

// farewell is for the DISCONNECT at the end.
const farewell = time.Second

// close says goodbye and closes.
func (w *wire) close() {
	w.out.Reset()
	_, _ = packets.NewControlPacket(packets.DISCONNECT).WriteTo(&w.out) // a buffer takes it
	_ = w.conn.SetWriteDeadline(time.Now().Add(farewell))
	if _, err := w.conn.Write(w.out.Bytes()); err != nil {
		_ = w.conn.NetConn().Close() // the farewell of TLS would only block
		return
	}
	_ = w.conn.Close()
}

// cause is an error without addresses, so that equal ones can be counted together.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "broker closed the connection"
	}
	return err.Error()
}
