package session

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a connection that the link itself ends.
var (
	errStuck       = errors.New("a write was stuck: the link is half-open or too slow")
	errInboundSize = fmt.Errorf("the server sent a packet larger than %d bytes", maxInbound)
	errMalformed   = errors.New("the server sent a malformed packet")
)

// wire is the connection below paho.
//
// It is a sync.Locker, which paho's packets hold around the writes of one
// packet: Write collects and Unlock sends, so that a packet costs one TLS record
// and one system call instead of four. Each send has a deadline. Inbound packets
// are measured before paho allocates memory for them.
type wire struct {
	net.Conn          // TLS or TCP
	raw      net.Conn // the TCP connection below

	// Owned by the one goroutine that reads.
	in   *bufio.Reader
	head []byte // of the current packet, not read yet
	left int    // bytes of the current packet behind head

	out []byte // the packet being written; guarded by mu
	mu  sync.Mutex

	timeout time.Duration // of one send
	hurryMu sync.Mutex    // guards hurried
	hurried time.Time     // no send may take longer; zero: no limit

	broken atomic.Pointer[error] // why a send failed; nothing is sent any more

	closeOnce sync.Once
	closed    chan struct{}
	failOnce  sync.Once
	err       error       // why it failed; valid when failed is set
	failed    atomic.Bool //

	sent, received atomic.Uint64 // bytes of MQTT
}

func newWire(conn, raw net.Conn, timeout time.Duration) *wire {
	return &wire{Conn: conn, raw: raw, in: bufio.NewReaderSize(conn, 4<<10), timeout: timeout, closed: make(chan struct{})}
}

// Lock begins a packet.
func (w *wire) Lock() {
	w.mu.Lock()
	w.out = w.out[:0]
}

// Write collects a part of a packet. Errors appear in Unlock and end the connection.
func (w *wire) Write(p []byte) (int, error) {
	if w.failed.Load() {
		return 0, w.err
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// Unlock sends the packet.
func (w *wire) Unlock() {
	defer w.mu.Unlock()
	if len(w.out) == 0 || w.failed.Load() || w.broken.Load() != nil {
		return
	}
	w.setWriteDeadline(time.Now().Add(w.timeout))
	n, err := w.Conn.Write(w.out)
	w.sent.Add(uint64(n))
	var timeout net.Error
	switch {
	case err == nil:
	case errors.As(err, &timeout) && timeout.Timeout():
		w.fail(fmt.Errorf("write: %w", errStuck))
	default:
		// The other side has closed. Its reason may be waiting to be read, so the reader decides.
		err = fmt.Errorf("write: %w", err)
		w.broken.Store(&err)
		_ = w.SetReadDeadline(time.Now().Add(lastWords))
	}
}

// lastWords is how long the reader looks for the other side's reason after a send failed.
const lastWords = 200 * time.Millisecond

func (w *wire) setWriteDeadline(t time.Time) {
	w.hurryMu.Lock()
	defer w.hurryMu.Unlock()
	if !w.hurried.IsZero() && w.hurried.Before(t) {
		t = w.hurried
	}
	_ = w.SetWriteDeadline(t)
}

// hurry lets no send, not even one that is under way, take longer than until then.
func (w *wire) hurry(until time.Time) {
	w.hurryMu.Lock()
	w.hurried = until
	w.hurryMu.Unlock()
	w.setWriteDeadline(until)
}

// Read serves bytes of one packet at a time, whose size it has checked.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := w.read(p)
	w.received.Add(uint64(n))
	if err != nil {
		reason := fmt.Errorf("read: %w", err)
		if sendErr := w.broken.Load(); sendErr != nil && !isAlert(err) {
			reason = *sendErr
		}
		w.fail(reason)
	}
	return n, err
}

func (w *wire) read(p []byte) (int, error) {
	if len(w.head) == 0 && w.left == 0 {
		if err := w.readHeader(); err != nil {
			return 0, err
		}
	}
	if len(w.head) > 0 {
		n := copy(p, w.head)
		w.head = w.head[n:]
		return n, nil
	}
	n, err := w.in.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

// readHeader reads a fixed header: type and remaining length of at most four
// bytes [MQTT-1.5.5, 2.1.4].
func (w *wire) readHeader() error {
	const maxLengthBytes = 4
	head := make([]byte, 1, 1+maxLengthBytes)
	var err error
	if head[0], err = w.in.ReadByte(); err != nil {
		return err
	}
	length := 0
	for i := 0; ; i++ {
		if i == maxLengthBytes {
			return errMalformed
		}
		b, err := w.in.ReadByte()
		if err != nil {
			return err
		}
		head = append(head, b)
		length |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			break
		}
	}
	if length > maxInbound {
		return errInboundSize
	}
	w.head, w.left = head, length
	return nil
}

// fail ends the connection at once and remembers why; the first reason counts.
// What happens after Close is no failure.
func (w *wire) fail(err error) {
	w.failOnce.Do(func() {
		w.err = err
		w.failed.Store(true)
		_ = w.raw.Close() // not the TLS connection, which would wait for its own farewell to be sent
	})
	_ = w.Close()
}

// Close closes the connection. It is called by paho, too.
func (w *wire) Close() error {
	var err error
	w.closeOnce.Do(func() {
		close(w.closed)
		w.failOnce.Do(func() {})
		if w.failed.Load() {
			err = w.raw.Close()
			return
		}
		err = w.Conn.Close()
	})
	return err
}

// reason is why the connection failed; nil when it was closed, or is open.
func (w *wire) reason() error {
	if w.failed.Load() {
		return w.err
	}
	return nil
}
