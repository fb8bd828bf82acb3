package j1939

import (
	"bytes"
	"time"

	"telltale.dev/protocol/can"
)

// partSize is how many bytes of a message one TP.DT frame has, behind its number.
const partSize = 7

// How long is waited for the next frame of a message (SAE J1939-21, 5.10.2.4 and 5.13.3), in µs.
const (
	t1 = int64(750 * time.Millisecond / time.Microsecond)  // for the next part
	t2 = int64(1250 * time.Millisecond / time.Microsecond) // for the first part behind a CTS
	t3 = int64(1250 * time.Millisecond / time.Microsecond) // for a CTS or EndOfMsgAck, behind an RTS or the last part that was wanted
	t4 = int64(1050 * time.Millisecond / time.Microsecond) // for the next CTS behind one that wants no part yet
)

// session is a message that is open.
type session struct {
	buffer      *[MaxSize]byte
	source      uint8
	destination uint8
	group       uint32
	size        int
	have        int // parts 1 to have are in buffer
	next        int // number of the part that must come next, 1 to have+1
	wanted      int // parts that the receiver wants by its last CTS and that have not come
	first       int64
	last        int64 // time of the frame since which limit counts
	limit       int64
}

// parts is the number of parts of the message, 2 to 255.
func (s *session) parts() int { return (s.size + partSize - 1) / partSize }

// wait says how long the next frame may take, in µs.
func (s *session) wait(now, limit int64) { s.last, s.limit = now, limit }

// late says whether a frame of this time (µs) comes too late. A clock that was set back by more than the frame may take
// makes it late, too, since it cannot be known when it came.
func (s *session) late(now int64) bool {
	if now < s.last {
		return uint64(s.last)-uint64(now) > uint64(s.limit)
	}
	return uint64(now)-uint64(s.last) > uint64(s.limit)
}

// add takes a part. False with the reason when the message cannot be put together any more.
func (s *session) add(f *can.Frame) (Reason, bool) {
	number := int(f.Data[0])
	if f.Len == 0 || f.Len > can.MaxClassic {
		return ShortPart, false
	}
	if number < 1 || number != s.next && number != s.next-1 {
		return MissingPart, false
	}
	from := (number - 1) * partSize
	n := min(partSize, s.size-from)
	if int(f.Len)-1 < n {
		return ShortPart, false
	}
	content, place := f.Data[1:1+n], s.buffer[from:from+n]
	if number <= s.have && !bytes.Equal(content, place) {
		return Contradiction, false
	}
	if number < s.next { // the same frame once more
		return 0, true
	}
	copy(place, content)
	s.have, s.next = max(s.have, number), number+1
	if s.wanted > 0 {
		s.wanted--
	}
	if s.wait(f.Time, t1); s.destination != Global && s.wanted == 0 {
		s.wait(f.Time, t3)
	}
	return 0, true
}
