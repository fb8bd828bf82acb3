package virtual

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"telltale.dev/protocol/can"
)

// What goes over the connection, all numbers little-endian:
//
//	hello    magic(4) version(1) pid(4) len(1) bus len(1) name       reader → hub
//	welcome  magic(4) version(1) 0 first(8)                          hub → reader: index of the first frame it will get
//	refusal  magic(4) version(1) 1 len(2) text                       hub → reader, then the end
//	message  length(4) kind(1) …                                     both ways; length counts what follows it
//	  frames   1 dropped(8) count(2) then count times: time(8) id(4) flags(1) len(1) data
//	  failure  2 text                                                hub → reader, then the end
//
// dropped is the number of frames lost before the first of the message (0 from readers).
const (
	magic = "TTVC"
	// version 1: the first.
	version = 1

	kindFrames  = 1
	kindFailure = 2

	lengthSize    = 4
	framesHeader  = 1 + 8 + 2
	frameHeader   = 8 + 4 + 1 + 1
	maxText       = 512
	maxBody       = framesHeader + batchFrames*(frameHeader+can.MaxData)
	welcomeSize   = 4 + 1 + 1 + 8
	helloFixed    = 4 + 1 + 4 + 1
	knownFlags    = can.FD | can.BRS | can.ESI | can.Remote | can.Error
	statusOK      = 0
	statusRefused = 1
)

// errForeign says that the other end speaks something else.
var errForeign = errors.New("the other end is no virtual bus")

type hello struct {
	pid       uint32
	bus, name string
}

func appendHello(dst []byte, h hello) []byte {
	dst = append(dst, magic...)
	dst = append(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, h.pid)
	dst = append(dst, byte(len(h.bus)))
	dst = append(dst, h.bus...)
	dst = append(dst, byte(len(h.name)))
	return append(dst, h.name...)
}

func readHello(r io.Reader) (h hello, err error) {
	var fixed [helloFixed]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return h, err
	}
	if string(fixed[:4]) != magic {
		return h, errForeign
	}
	if fixed[4] != version {
		return h, fmt.Errorf("the hub speaks version %d, the reader version %d: use programs of one build", version, fixed[4])
	}
	h.pid = binary.LittleEndian.Uint32(fixed[5:])
	if h.bus, err = readName(r, fixed[9]); err != nil {
		return h, err
	}
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return h, err
	}
	h.name, err = readName(r, n[0])
	return h, err
}

func readName(r io.Reader, n byte) (string, error) {
	if n > maxName {
		return "", fmt.Errorf("a name of %d bytes, at most %d are allowed", n, maxName)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return "", err
	}
	return string(name), checkName("bus or reader", string(name))
}

func appendWelcome(dst []byte, first uint64) []byte {
	dst = append(dst, magic...)
	dst = append(dst, version, statusOK)
	return binary.LittleEndian.AppendUint64(dst, first)
}

func appendRefusal(dst []byte, text string) []byte {
	text = text[:min(len(text), maxText)]
	dst = append(dst, magic...)
	dst = append(dst, version, statusRefused)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text)))
	return append(dst, text...)
}

// refusedError is what the hub said instead of welcome.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return "the hub refuses: " + e.text }

// readWelcome reads the hub's answer to hello.
func readWelcome(r io.Reader) (first uint64, err error) {
	var head [welcomeSize]byte
	if _, err := io.ReadFull(r, head[:6]); err != nil {
		return 0, err
	}
	if string(head[:4]) != magic {
		return 0, errForeign
	}
	if head[5] == statusOK && head[4] == version {
		_, err = io.ReadFull(r, head[6:])
		return binary.LittleEndian.Uint64(head[6:]), err
	}
	if head[5] != statusRefused {
		return 0, fmt.Errorf("the hub speaks version %d, this program version %d: use programs of one build", head[4], version)
	}
	if _, err := io.ReadFull(r, head[6:8]); err != nil {
		return 0, err
	}
	text := make([]byte, min(binary.LittleEndian.Uint16(head[6:]), maxText))
	if _, err := io.ReadFull(r, text); err != nil {
		return 0, err
	}
	return 0, &refusedError{string(text)}
}

// beginFrames starts a message of frames; endFrames fills in what is known at the end.
func beginFrames(dst []byte) []byte {
	return append(dst[:0], make([]byte, lengthSize+framesHeader)...)
}

func endFrames(msg []byte, dropped uint64, count int) {
	binary.LittleEndian.PutUint32(msg, uint32(len(msg)-lengthSize))
	msg[lengthSize] = kindFrames
	binary.LittleEndian.PutUint64(msg[lengthSize+1:], dropped)
	binary.LittleEndian.PutUint16(msg[lengthSize+9:], uint16(count))
}

func appendFailure(dst []byte, text string) []byte {
	text = text[:min(len(text), maxText)]
	dst = binary.LittleEndian.AppendUint32(dst, uint32(1+len(text)))
	dst = append(dst, kindFailure)
	return append(dst, text...)
}

func appendFrame(dst []byte, f *can.Frame) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Time))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.ID))
	dst = append(dst, byte(f.Flags), f.Len)
	return append(dst, f.Payload()...)
}

// readFrame reads one frame from body and gives the rest.
func readFrame(body []byte, f *can.Frame) ([]byte, error) {
	if len(body) < frameHeader {
		return nil, errors.New("a frame is cut off")
	}
	f.Time = int64(binary.LittleEndian.Uint64(body))
	f.ID = can.ID(binary.LittleEndian.Uint32(body[8:]))
	f.Flags, f.Len = can.Flags(body[12]), body[13]
	if err := checkFrame(f); err != nil {
		return nil, err
	}
	body = body[frameHeader:]
	data := f.Payload()
	if len(body) < len(data) {
		return nil, errors.New("a frame is cut off")
	}
	clear(f.Data[len(data):])
	copy(data, body)
	return body[len(data):], nil
}

// checkFrame says what is wrong with a frame that no bus could carry.
func checkFrame(f *can.Frame) error {
	most := uint8(can.MaxClassic)
	if f.Flags&can.FD != 0 {
		most = can.MaxData
	}
	number := can.StandardMask
	if f.ID.IsExtended() || f.Flags&can.Error != 0 {
		number = can.ExtendedMask
	}
	switch {
	case f.Flags&^knownFlags != 0:
		return fmt.Errorf("a frame has unknown flags %#x", uint8(f.Flags))
	case f.Len > most:
		return fmt.Errorf("a frame has %d bytes, at most %d are possible", f.Len, most)
	case f.ID.Number() > uint32(number):
		return fmt.Errorf("a frame has identifier %X, at most %X is possible", f.ID.Number(), uint32(number))
	}
	return nil
}

// frames is a message being read: what is left of it.
type frames struct {
	body  []byte
	count int
}

// openBody looks at a whole message body; a failure that the hub reports comes back as an error.
func openBody(body []byte) (m frames, dropped uint64, err error) {
	switch {
	case len(body) > 0 && body[0] == kindFailure:
		return m, 0, &refusedError{string(body[1:min(len(body), 1+maxText)])}
	case len(body) < framesHeader || body[0] != kindFrames:
		return m, 0, errors.New("a message of unknown kind")
	}
	count := int(binary.LittleEndian.Uint16(body[9:]))
	if count == 0 || count > batchFrames {
		return m, 0, fmt.Errorf("a message of %d frames, want 1 to %d", count, batchFrames)
	}
	return frames{body[framesHeader:], count}, binary.LittleEndian.Uint64(body[1:]), nil
}

// next moves as many frames as fit into dst.
func (m *frames) next(dst []can.Frame) (n int, err error) {
	for n < len(dst) && m.count > 0 {
		if m.body, err = readFrame(m.body, &dst[n]); err != nil {
			return n, err
		}
		m.count--
		n++
	}
	if m.count == 0 && len(m.body) > 0 {
		return n, fmt.Errorf("a message with %d bytes too many", len(m.body))
	}
	return n, nil
}
