package slots

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"telltale.dev/protocol/document"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// What goes through the socket between Owner and Remote. Both ends come from the same firmware, so there is one version only.
//
//	Remote ─▶ request                                          a message
//	       ─▶ update file: chunk, chunk, … and an empty chunk  install only
//	Owner  ─▶ answer                                           a message
//
// A message is deterministic CBOR behind its length; a chunk is bytes behind their length (4 bytes, big endian). Who closes its side
// before the empty chunk breaks the install off.
const (
	wireVersion = 1
	maxMessage  = 4 << 10  // bytes
	maxChunk    = 64 << 10 // bytes
	lengthSize  = 4
)

// action is what Remote asks for.
type action string

const (
	askStatus   action = "status"
	askInstall  action = "install"
	askConfirm  action = "confirm"
	askPrefer   action = "prefer"
	askRollback action = "rollback"
)

type request struct {
	Version int    `cbor:"v,required"`
	Action  action `cbor:"action,required"`
	Slot    Slot   `cbor:"slot,omitempty"` // of askPrefer
}

type answer struct {
	Version int     `cbor:"v,required"`
	Status  *Status `cbor:"status,omitempty"` // of askStatus
	Error   string  `cbor:"error,omitempty"`  // empty: done
	Cause   string  `cbor:"cause,omitempty"`  // of causes; empty: none of them
}

// maxError bounds the text of an error on the wire, in bytes.
const maxError = 500

// causes are the errors that callers branch on, by their words on the wire.
func causes() map[string]error {
	return map[string]error{
		"size": ErrSize, "unbootable": ErrUnbootable, "trial": ErrTrial, "read-back": ErrReadBack, "busy": ErrBusy, "booted": ErrBooted, "refused": ErrRefused,
		"not-update": firmware.ErrNotUpdate, "wrong-board": firmware.ErrWrongBoard, "older": firmware.ErrOlder,
		"truncated": firmware.ErrTruncated, "corrupt": firmware.ErrCorrupt, "wrong-key": signed.ErrWrongKey, "signature": signed.ErrSignature,
	}
}

// fail makes an answer of an error.
func (a *answer) fail(err error) {
	text := err.Error()
	a.Error = strings.ToValidUTF8(text[:min(len(text), maxError)], "") // a document takes nothing else
	for word, cause := range causes() {
		if errors.Is(err, cause) {
			a.Cause = word
		}
	}
}

// err makes an error of an answer again.
func (a *answer) err() error {
	if a.Error == "" {
		return nil
	}
	return &remoteError{a.Error, causes()[a.Cause]}
}

// remoteError is an error of the slots' owner with its own words.
type remoteError struct {
	text  string
	cause error // nil: none that callers branch on
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }

// writeMessage writes a document behind its length.
func writeMessage(w io.Writer, v any) error {
	data, err := document.Marshal(v)
	if err != nil {
		return err
	}
	return writeChunk(w, data)
}

// readMessage reads a document.
func readMessage(r io.Reader, v any) error {
	size, err := readLength(r, maxMessage)
	if err != nil {
		return err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	return document.Unmarshal(data, v)
}

// writeChunk writes bytes behind their length, in one write.
func writeChunk(w io.Writer, data []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, lengthSize+len(data)), uint32(len(data))), data...))
	return err
}

func readLength(r io.Reader, most uint32) (uint32, error) {
	var length [lengthSize]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > most {
		return 0, fmt.Errorf("expected at most %d bytes, found %d", most, size)
	}
	return size, nil
}

// errBrokenOff says that no empty chunk came.
var errBrokenOff = errors.New("the update file was not sent to its end")

// chunks reads the bytes of chunks up to the empty one, which is io.EOF. Any other end is an error wrapping errBrokenOff.
type chunks struct {
	from io.Reader
	left uint32 // of the chunk
	end  error
}

// Read implements io.Reader.
func (c *chunks) Read(b []byte) (int, error) {
	if c.end != nil || len(b) == 0 {
		return 0, c.end
	}
	if c.left == 0 {
		size, err := readLength(c.from, maxChunk)
		switch {
		case err != nil:
			c.end = fmt.Errorf("%w: %w", errBrokenOff, err)
		case size == 0:
			c.end = io.EOF
		}
		if c.left = size; c.end != nil {
			return 0, c.end
		}
	}
	n, err := c.from.Read(b[:min(len(b), int(c.left))])
	c.left -= uint32(n)
	if err != nil {
		c.end = fmt.Errorf("%w: %w", errBrokenOff, err)
	}
	return n, c.end
}
