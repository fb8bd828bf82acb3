package virtual

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"telltale.dev/protocol/can"
)

// write hands frames to the process, a message per write, until the reader has ended or its connection fails.
func (r *reader) write(conn net.Conn) {
	defer close(r.finished)
	var msg []byte
	for {
		next := r.wire.take(r, msg)
		if next == nil {
			break
		}
		msg = next
		if _, err := conn.Write(msg); err != nil {
			conn.Close() // read sees it and detaches
			return
		}
	}
	if r.failure != "" { // set before ended, which take has seen
		conn.Write(appendFailure(nil, r.failure))
	}
}

// read puts the process's own frames on the bus until the connection ends.
func (r *reader) read(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, maxBody+lengthSize)
	var batch [batchFrames]can.Frame
	for {
		body, err := readMessage(in)
		if err != nil {
			return err
		}
		m, _, err := openBody(body)
		if err != nil {
			return err
		}
		n, err := m.next(batch[:])
		if err != nil {
			return err
		}
		r.wire.send(batch[:n], r)
		in.Discard(len(body))
	}
}

// readMessage gives the body of the next message, which stays in the buffer of in.
func readMessage(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(lengthSize)
	if err != nil {
		return nil, cutOff(err, len(head))
	}
	length := binary.LittleEndian.Uint32(head)
	if length == 0 || length > maxBody {
		return nil, fmt.Errorf("a message of %d bytes, want 1 to %d", length, maxBody)
	}
	in.Discard(lengthSize)
	body, err := in.Peek(int(length))
	if err != nil {
		return nil, cutOff(err, lengthSize)
	}
	return body, nil
}

// cutOff turns an end within a message into io.ErrUnexpectedEOF.
func cutOff(err error, have int) error {
	if err == io.EOF && have > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
