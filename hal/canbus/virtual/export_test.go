package virtual

import (
	"bytes"

	"telltale.dev/protocol/can"
)

// DecodeMessage and EncodeMessage open the wire form to the fuzz test.
func DecodeMessage(body []byte) (all []can.Frame, dropped uint64, err error) {
	m, dropped, err := openBody(body)
	if err != nil {
		return nil, 0, err
	}
	var buf [batchFrames]can.Frame
	n, err := m.next(buf[:])
	return append(all, buf[:n]...), dropped, err
}

func EncodeMessage(frames []can.Frame, dropped uint64) []byte {
	msg := beginFrames(nil)
	for i := range frames {
		msg = appendFrame(msg, &frames[i])
	}
	endFrames(msg, dropped, len(frames))
	return msg[lengthSize:]
}

// RepeatHello reads hello and writes it again.
func RepeatHello(raw []byte) ([]byte, error) {
	h, err := readHello(bytes.NewReader(raw))
	return appendHello(nil, h), err
}
