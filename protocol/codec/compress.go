package codec

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol/document"
)

// zstdMagic begins a compressed payload (RFC 8878, 3.1.1). No batch and no document begins so.
const zstdMagic = "\x28\xB5\x2F\xFD"

const (
	windowSize = 64 << 10 // of our encoder; more gains nothing on batches and costs heap
	maxWindow  = 8 << 20  // accepted from others
	maxForeign = 1 << 20  // bytes of a batch in a frame that our encoder did not make
)

// compressor writes zstd frames with one encoder that is made at the first use.
type compressor struct {
	zstd  *zstd.Encoder
	frame []byte
}

func (c *compressor) start() (err error) {
	if c.zstd == nil {
		c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(windowSize), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	}
	return err
}

// append writes body compressed, or as it is when that is not longer. The first
// head bytes become a block of their own that is stored, so that ParseHeader
// finds them without decompressing.
func (c *compressor) append(dst, body []byte, head int) ([]byte, error) {
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

// firstBlock gives the stored first block of a compressed payload.
func firstBlock(payload []byte) ([]byte, bool) {
	if !compressed(payload) {
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

func compressed(payload []byte) bool { return bytes.HasPrefix(payload, []byte(zstdMagic)) }

// Pack compresses a document for the wire, when that makes it shorter. A
// document's hash is that of the document itself, not of what Pack makes of it.
func Pack(doc []byte) ([]byte, error) {
	var c compressor
	return c.append(nil, doc, 0)
}

// decoders holds idle *zstd.Decoder; they are costly to make.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(MaxPlain), zstd.WithDecodeAllCapLimit(true))
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
	if !compressed(data) {
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
		return nil, malformed("zstd frame", "expected its content size in its header")
	}
	if h.FrameContentSize > uint64(min(limit, MaxPlain)) {
		return nil, fmt.Errorf("zstd frame of %d bytes, expected at most %d: %w", h.FrameContentSize, limit, document.ErrLimit)
	}
	const smallestBlock, largestBlock = 4, 128 << 10 // RFC 8878, 3.1.1.2: a head and one repeated byte
	if h.FrameContentSize > uint64(len(data)/smallestBlock+1)*largestBlock {
		return nil, malformed("zstd frame", "expected enough blocks for its content size")
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
		return nil, malformed("zstd frame", "expected as many bytes as its header says")
	}
	return plain, nil
}

// unpackBatch is Unpack for a batch. Only a frame that shows a batch's header
// before it is decompressed may hold more than maxForeign.
func unpackBatch(payload []byte) ([]byte, error) {
	limit := MaxPlain
	if compressed(payload) {
		limit = maxForeign
		if block, ok := firstBlock(payload); ok {
			r := reader{data: block}
			if _, _, err := r.header(); err == nil {
				limit = MaxPlain
			}
		}
	}
	return Unpack(payload, limit)
}
