package broker

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// fields reads the fields of a packet in turn. After the first fault it reads nothing more.
type fields struct {
	rest    []byte
	version byte
	fault   *fault
}

func (r *fields) fail(f *fault) {
	if r.fault == nil {
		r.fault = f
	}
	r.rest = nil
}

// end is the first fault; bytes that are left over are one.
func (r *fields) end() *fault {
	if len(r.rest) > 0 {
		r.fail(malformed("bytes are left over at the end of the packet"))
	}
	return r.fault
}

func (r *fields) bytes(n int, what string) []byte {
	if n > len(r.rest) {
		r.fail(malformed("packet ends before the end of its " + what))
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *fields) byte(what string) byte {
	if b := r.bytes(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *fields) binary(what string) []byte {
	n := r.bytes(2, what)
	if n == nil {
		return nil
	}
	return r.bytes(int(binary.BigEndian.Uint16(n)), what)
}

// text is a UTF-8 string without NUL [MQTT-1.5.4-1] [MQTT-1.5.4-2].
func (r *fields) text(what string) []byte {
	b := r.binary(what)
	switch {
	case !utf8.Valid(b):
		r.fail(malformed(what + " is not UTF-8"))
	case bytes.IndexByte(b, 0) >= 0:
		r.fail(malformed(what + " holds NUL"))
	}
	return b
}

// packetID is one that is not 0 [MQTT-2.2.1-3].
func (r *fields) packetID() {
	if id := r.bytes(2, "packet identifier"); id != nil && id[0] == 0 && id[1] == 0 {
		r.fail(protocolError("packet identifier is 0"))
	}
}

// varint is a variable byte integer in its shortest form [MQTT-1.5.5-1].
func (r *fields) varint(what string) uint32 {
	n := uint32(0)
	for i := range 4 {
		b := r.byte(what)
		n |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				r.fail(malformed(what + " is not in its shortest form"))
			}
			return n
		}
	}
	r.fail(malformed(what + " has more than 4 bytes"))
	return 0
}

// reason is the end of an acknowledgement, DISCONNECT or AUTH: a reason code and
// properties, both of which may be left out in MQTT 5; 3.1.1 has none.
func (r *fields) reason(kind byte) {
	if r.version < level5 || len(r.rest) == 0 {
		return
	}
	r.byte("reason code")
	if len(r.rest) > 0 {
		r.properties(kind)
	}
}
