// Package compress makes batches and documents smaller for the wire, by zstd (RFC 8878), and
// reads them back within bounds: no more memory is asked for than the caller allows, whatever
// the bytes say. It does not know what it compresses.
package compress

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol/document"
)

// MaxSize is how many bytes Unpack gives at most.
const MaxSize = 16 << 20

// zstdMagic begins a compressed payload (RFC 8878, 3.1.1). No batch and no document begins so.
const zstdMagic = "\x28\xB5\x2F\xFD"

const (
	windowSize = 64 << 10 // of our encoder; more gains nothing on batches and costs heap
	maxWindow  = 8 << 20  // accepted from others
)

// Compressor writes zstd frames with one encoder that is made at the first use and keeps its
// memory. The zero value is ready. It must not be used by two goroutines at once.
type Compressor struct {
	zstd  *zstd.Encoder
	frame []byte
}

func (c *Compressor) start() (err error) {
	if c.zstd == nil {
		c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(windowSize), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	}
	return err
}

// Append writes body compressed, or as it is when that is not longer. The first
// head bytes become a block of their own that is stored, so that FirstBlock
// gives them without decompressing.
func (c *Compressor) Append(dst, body []byte, head int) ([]byte, error) {
	if err := c.start(); err != nil {
		return dst, fmt.Errorf("zstd: %w", err)
	}
	c.frame = c.zstd.EncodeAll(body[head:], c.frame[:0])
	var h zstd.Header
	rest, err := h.DecodeAndStrip(c.frame)
	if err != nil || !h.HasFCS {
		return dst, fmt.Errorf("zstd: frame header: %w", errors.Join(err, document.ErrMalformed))
	}
	h.FrameContentSize = uint64(len(body))
	start := len(dst)
	if dst, err = h.AppendTo(dst); err != nil {
		return dst, fmt.Errorf("zstd: frame header: %w", err)
	}
	if head > 0 {
		block := uint32(head) << 3 // stored, not the last: RFC 8878, 3.1.1.2
		dst = append(dst, byte(block), byte(block>>8), byte(block>>16))
		dst = append(dst, body[:head]...)
	}
	dst = append(dst, rest...)
	if len(dst)-start >= len(body) {
		dst = append(dst[:start], body...)
	}
	return dst, nil
}

// FirstBlock gives the stored first block of what Append compressed, and the whole payload when
// it is not compressed. False: the payload is compressed and its first block is not stored.
func FirstBlock(payload []byte) ([]byte, bool) {
	if !Compressed(payload) {
		return payload, true
	}
	var h zstd.Header
	if err := h.Decode(payload); err != nil || !h.FirstBlock.OK || h.FirstBlock.Compressed {
		return nil, false
	}
	const blockHead = 3
	end := h.HeaderSize + blockHead + h.FirstBlock.CompressedSize
	if h.FirstBlock.CompressedSize != h.FirstBlock.DecompressedSize || end > len(payload) {
		return nil, false
	}
	return payload[h.HeaderSize+blockHead : end], true
}

// Compressed says whether a payload is a zstd frame.
func Compressed(payload []byte) bool { return bytes.HasPrefix(payload, []byte(zstdMagic)) }

// Pack compresses a document for the wire, when that makes it shorter. A
// document's hash is that of the document itself, not of what Pack makes of it.
func Pack(doc []byte) ([]byte, error) {
	var c Compressor
	return c.Append(nil, doc, 0)
}

// decoders holds idle *zstd.Decoder; they are costly to make.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(MaxSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err
	}
	return d
}}

// Unpack gives the batch or document of a payload: what Pack or Encode
// compressed, or data itself when it is not compressed. The frame must say how
// much it holds, at most limit bytes, before anything is decompressed. The
// error wraps document.ErrMalformed or document.ErrLimit.
func Unpack(data []byte, limit int) ([]byte, error) {
	if !Compressed(data) {
		if len(data) > limit {
			return nil, fmt.Errorf("%d bytes, expected at most %d: %w", len(data), limit, document.ErrLimit)
		}
		return data, nil
	}
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return nil, fmt.Errorf("zstd frame: %w: %w", err, document.ErrMalformed)
	}
	if !h.HasFCS {
		return nil, malformed("expected its content size in its header")
	}
	if h.FrameContentSize > uint64(min(limit, MaxSize)) {
		return nil, fmt.Errorf("zstd frame of %d bytes, expected at most %d: %w", h.FrameContentSize, limit, document.ErrLimit)
	}
	const smallestBlock, largestBlock = 4, 128 << 10 // RFC 8878, 3.1.1.2: a head and one repeated byte
	if h.FrameContentSize > uint64(len(data)/smallestBlock+1)*largestBlock {
		return nil, malformed("expected enough blocks for its content size")
	}
	return decompress(data, int(h.FrameContentSize))
}

// decompress reads a frame of exactly size bytes.
func decompress(data []byte, size int) ([]byte, error) {
	d, ok := decoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, errors.New("zstd: decoder cannot be made")
	}
	defer decoders.Put(d)
	plain, err := d.DecodeAll(data, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("zstd frame: %w: %w", err, document.ErrMalformed)
	}
	if len(plain) != size {
		return nil, malformed("expected as many bytes as its header says")
	}
	return plain, nil
}

func malformed(expected string) error {
	return fmt.Errorf("zstd frame: %s: %w", expected, document.ErrMalformed)
}
