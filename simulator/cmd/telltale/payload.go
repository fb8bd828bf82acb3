package main

import (
	"bytes"
	"errors"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// zstdMagic begins a zstd frame (RFC 8878, 3.1.1).
var zstdMagic = []byte{0x28, 0xB5, 0x2F, 0xFD}

// isText says whether the input is lines rather than a binary payload: binary
// ones begin with a CBOR array or map, or with zstd's magic number.
func isText(b []byte) bool {
	return b[0] < 0x80 && !bytes.HasPrefix(b, zstdMagic)
}

// nextPayload gives the first payload of b and how many bytes it takes up; 0
// when more input is needed. At the end of the input, the rest is a payload.
func nextPayload(b []byte, ended bool) (payload []byte, size int) {
	switch {
	case len(b) < len(zstdMagic) && bytes.HasPrefix(zstdMagic, b):
	case bytes.HasPrefix(b, zstdMagic):
		size = zstdSize(b)
	case isText(b):
		if bytes.HasPrefix(b, []byte("apiVersion")) { // a campaign file is one document
			break
		}
		size = bytes.IndexByte(b, '\n') + 1
	default:
		var item cbor.RawMessage
		rest, err := cbor.UnmarshalFirst(b, &item)
		switch {
		case err == nil:
			size = len(b) - len(rest)
		case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
			size = len(b) // nothing can be cut any more
		}
	}
	if size == 0 && ended {
		size = len(b)
	}
	payload = b[:size]
	for size < len(b) && size > 0 && !isText(payload) && b[size] == '\n' { // mosquitto_sub's own
		size++
	}
	return payload, size
}

// zstdSize gives the length of the frame that b begins with, 0 when its end is
// not there yet (RFC 8878, 3.1.1: header, blocks until the last one, checksum).
func zstdSize(b []byte) int {
	if len(b) < 6 {
		return 0
	}
	descriptor := b[4]
	single := descriptor>>5&1 == 1
	at := 5
	if !single {
		at++
	}
	at += [...]int{0, 1, 2, 4}[descriptor&3]
	switch descriptor >> 6 {
	case 0:
		if single {
			at++
		}
	default:
		at += 1 << (descriptor >> 6)
	}
	for at+3 <= len(b) {
		header := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		at += 3
		if header>>1&3 == 1 { // run length: one byte stands for all
			at++
		} else {
			at += int(header >> 3)
		}
		if header&1 == 1 {
			if descriptor>>2&1 == 1 {
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
