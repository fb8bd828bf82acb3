package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// zstdMagic begins a zstd frame (RFC 8878, 3.1.1).
var zstdMagic = []byte{0x28, 0xB5, 0x2F, 0xFD}

// piece is one payload of the input, with its topic when the input names it.
type piece struct {
	topic   string
	payload []byte // empty: nothing to show
}

// topicPrefix begins the topics that mosquitto_sub prints in front of payloads
// (-v, or -F '%t %x').
var topicPrefix, nextTopic = []byte("v1/"), []byte("\nv1/")

// cut gives the first piece of b and how many bytes it takes up, 0 when more
// input is needed. At the end of the input whatever is left is one piece.
func cut(b []byte, ended bool) (p piece, size int) {
	at := 0
	if end := bytes.IndexAny(b, " \n"); bytes.HasPrefix(b, topicPrefix) && end >= 0 && b[end] == ' ' {
		p.topic, at = string(b[:end]), end+1
	} else if end < 0 && !ended && (bytes.HasPrefix(b, topicPrefix) || bytes.HasPrefix(topicPrefix, b)) {
		return piece{}, 0 // the topic is not all there
	}
	n := payloadSize(b[at:], p.topic != "")
	if n == 0 {
		if !ended {
			return piece{}, 0
		}
		n = len(b) - at
	}
	p.payload, size = b[at:at+n], at+n
	if size < len(b) && b[size] == '\n' { // what tools print behind each
		size++
	}
	return p, size
}

// payloadSize gives the length of the payload that b begins with, 0 when its
// end is not there yet. Binary payloads and JSON carry their own length, so
// that raw output of mosquitto_sub can be read; hexadecimal ones end with
// their line. Other text, such as a campaign in YAML, is one document to the
// next topic, or without topics to the end of the input.
func payloadSize(b []byte, topic bool) int {
	switch {
	case len(b) == 0:
		return 0
	case bytes.HasPrefix(b, zstdMagic):
		return zstdSize(b)
	case b[0] >= 0x80: // a CBOR array or map (RFC 8949, 3)
		return cborSize(b)
	case b[0] == '{' || b[0] == '[':
		return jsonSize(b)
	case len(b) < len(zstdMagic) && bytes.HasPrefix(zstdMagic, b):
		return 0
	}
	if end := bytes.IndexByte(b, '\n'); end >= 0 && isHex(b[:end]) {
		return end + 1
	}
	if topic {
		return bytes.Index(b, nextTopic) + 1
	}
	return 0
}

func isHex(line []byte) bool {
	line = bytes.TrimSpace(line)
	_, err := hex.Decode(make([]byte, len(line)/2), line)
	return err == nil
}

// cborSize gives the length of the data item that b begins with; of bytes that are none, all.
func cborSize(b []byte) int {
	var item cbor.RawMessage
	rest, err := cbor.UnmarshalFirst(b, &item)
	switch {
	case err == nil:
		return len(b) - len(rest)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return 0
	}
	return len(b)
}

// jsonSize gives the length of the value that b begins with; of a line that is none, the line's.
func jsonSize(b []byte) int {
	var value json.RawMessage
	d := json.NewDecoder(bytes.NewReader(b))
	err := d.Decode(&value)
	switch {
	case err == nil:
		return int(d.InputOffset())
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return 0
	}
	return bytes.IndexByte(b, '\n') + 1
}

// zstdSize gives the length of the frame that b begins with, 0 when its end is
// not there yet (RFC 8878, 3.1.1: header, blocks until the last one, checksum).
func zstdSize(b []byte) int {
	const shortest = 6 // magic number, descriptor, one more byte
	if len(b) < shortest {
		return 0
	}
	descriptor := b[4]
	single, checksum := descriptor>>5&1 == 1, descriptor>>2&1 == 1
	at := len(zstdMagic) + 1
	if !single {
		at++ // window descriptor
	}
	at += [...]int{0, 1, 2, 4}[descriptor&3] // dictionary
	if size := descriptor >> 6; size > 0 {   // content size
		at += 1 << size
	} else if single {
		at++
	}
	for at+3 <= len(b) {
		header := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		at += 3
		const runLength = 1 // one byte stands for all
		if header>>1&3 == runLength {
			at++
		} else {
			at += int(header >> 3)
		}
		if header&1 == 1 { // the last block
			if checksum {
				at += 4
			}
			if at <= len(b) {
				return at
			}
			return 0
		}
	}
	return 0
}
