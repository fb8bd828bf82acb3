package batches

import (
	"fmt"

	"telltale.dev/protocol"
	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

// Layout versions of batches, their first element. Version 1 has no extensions; it is written
// when there are none, so that a cloud of before takes it, too.
const (
	version1 = 1
	Version  = 2
)

// Header is what a ledger needs to know of a batch.
type Header struct {
	Schema protocol.SchemaID
	ID     protocol.MessageID
	// Evicted are the sequences that the vehicle's buffer had to drop, so that they are not taken for losses.
	Evicted []protocol.SeqRange
	// Drops is the number of frames lost on the bus since the last batch.
	Drops uint64
	// TimeQuality is that of the times of the batch's rows.
	TimeQuality TimeQuality
}

func (h *Header) validate() error {
	if _, err := protocol.ParseDeviceID(string(h.ID.Device)); err != nil {
		return malformed("did", err.Error())
	}
	if h.ID.Seq == 0 {
		return malformed("seq", "expected a number from 1")
	}
	if len(h.Evicted) > MaxEvicted {
		return fmt.Errorf("evicted: %d ranges, expected at most %d: %w", len(h.Evicted), MaxEvicted, document.ErrLimit)
	}
	for _, r := range h.Evicted {
		if r.From == 0 || r.To < r.From {
			return malformed("evicted", "expected ranges from 1")
		}
	}
	return nil
}

// append writes the elements of a batch before t0.
func (h *Header) append(dst []byte) []byte {
	elements := 7
	if len(h.Evicted) > 0 {
		elements++
	}
	if h.Drops > 0 {
		elements += 2
	}
	version := uint64(version1)
	if h.TimeQuality != TimeUnknown {
		version = Version
		elements++
	}
	dst = cbor.AppendHead(dst, cbor.MajorArray, uint64(elements))
	dst = cbor.AppendHead(dst, cbor.MajorUint, version)
	dst = cbor.AppendBytes(dst, h.Schema[:])
	dst = append(cbor.AppendHead(dst, cbor.MajorText, uint64(len(h.ID.Device))), h.ID.Device...)
	dst = cbor.AppendBytes(dst, h.ID.Boot[:])
	dst = cbor.AppendHead(dst, cbor.MajorUint, h.ID.Seq)
	if version == Version {
		dst = h.appendExtensions(dst)
	}
	if len(h.Evicted) > 0 {
		dst = cbor.AppendHead(dst, cbor.MajorArray, uint64(len(h.Evicted)))
		for i := range h.Evicted {
			r := &h.Evicted[i]
			dst = cbor.AppendHead(dst, cbor.MajorArray, 3)
			dst = cbor.AppendBytes(dst, r.Boot[:])
			dst = cbor.AppendHead(dst, cbor.MajorUint, r.From)
			dst = cbor.AppendHead(dst, cbor.MajorUint, r.To)
		}
	}
	return dst
}

// appendTail writes the elements after the groups.
func (h *Header) appendTail(dst []byte) []byte {
	if h.Drops > 0 {
		dst = cbor.AppendHead(append(dst, cbor.Null), cbor.MajorUint, h.Drops)
	}
	return dst
}

// header reads what append wrote, and says whether a tail follows the groups.
func (r *reader) header() (h Header, tail bool, err error) {
	elements, err := r.Array(11, "an array of at most 11 elements")
	if err != nil {
		return h, false, err
	}
	version, err := r.Uint("a layout version")
	if err != nil {
		return h, false, err
	}
	if version < version1 || version > Version {
		return h, false, fmt.Errorf("version %d, expected %d or %d: %w", version, version1, Version, document.ErrVersion)
	}
	if err := r.Exactly(h.Schema[:], "a schema id"); err != nil {
		return h, false, err
	}
	if h.ID, err = r.messageID(); err != nil {
		return h, false, err
	}
	used := 7
	if version == Version {
		used++
		if err := r.extensions(&h); err != nil {
			return h, false, err
		}
	}
	if major, _, err := r.Peek(); err == nil && major == cbor.MajorArray {
		used++
		if h.Evicted, err = r.evicted(); err != nil {
			return h, false, err
		}
	}
	if elements != used && elements != used+2 {
		return h, false, r.Fail("as many elements as the array's head says")
	}
	return h, elements > used, h.validate()
}

func (r *reader) messageID() (id protocol.MessageID, err error) {
	device, err := r.Bytes(cbor.MajorText, "a device id")
	if err != nil {
		return id, err
	}
	id.Device = protocol.DeviceID(device)
	if err := r.Exactly(id.Boot[:], "a boot id"); err != nil {
		return id, err
	}
	id.Seq, err = r.Uint("a sequence")
	return id, err
}

func (r *reader) evicted() ([]protocol.SeqRange, error) {
	n, err := r.Array(MaxEvicted, "evicted ranges")
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, r.Fail("at least one evicted range")
	}
	var ranges []protocol.SeqRange
	for range n {
		if members, err := r.Array(3, "an evicted range"); err != nil || members != 3 {
			return nil, r.Fail("an evicted range of three")
		}
		var e protocol.SeqRange
		if err := r.Exactly(e.Boot[:], "a boot id"); err != nil {
			return nil, err
		}
		if e.From, err = r.Uint("a sequence"); err != nil {
			return nil, err
		}
		if e.To, err = r.Uint("a sequence"); err != nil {
			return nil, err
		}
		ranges = append(ranges, e)
	}
	return ranges, nil
}

// tail reads what appendTail wrote.
func (r *reader) tail(h *Header) (err error) {
	if err := r.Null(); err != nil {
		return err
	}
	if h.Drops, err = r.Uint("a number of lost frames"); err == nil && h.Drops == 0 {
		err = r.Fail("lost frames from 1")
	}
	return err
}

// ParseHeader reads a payload's header without decoding columns, which it does
// not check. When the header is the first, stored block of the compressed
// frame, as Encode makes it, and no tail follows the groups, nothing is
// decompressed. The error wraps document.ErrMalformed, document.ErrLimit or document.ErrVersion.
func ParseHeader(payload []byte) (Header, error) {
	h, err := parseHeader(payload)
	if err != nil {
		return Header{}, fmt.Errorf("batch header: %w", err)
	}
	return h, nil
}

func parseHeader(payload []byte) (Header, error) {
	if block, ok := compress.FirstBlock(payload); ok {
		r := newReader(block)
		if h, tail, err := r.header(); err == nil && !tail {
			return h, nil
		}
	}
	plain, err := Unpack(payload)
	if err != nil {
		return Header{}, err
	}
	r := newReader(plain)
	h, tail, err := r.header()
	if err != nil || !tail {
		return h, err
	}
	return h, r.skipToTail(&h)
}

// skipToTail steps over t0 and the groups.
func (r *reader) skipToTail(h *Header) error {
	if _, err := r.Int("a start time"); err != nil {
		return err
	}
	groups, err := r.Array(schemas.MaxGroups, "groups")
	if err != nil {
		return err
	}
	for range groups {
		columns, err := r.Array(schemas.MaxColumns+3, "a group")
		if err != nil {
			return err
		}
		for range columns {
			if err := r.skipColumn(); err != nil {
				return err
			}
		}
	}
	return r.tail(h)
}

func (r *reader) skipColumn() error {
	major, null, err := r.Peek()
	switch {
	case err != nil:
		return err
	case null:
		return r.Null()
	case major == cbor.MajorBytes:
		_, err = r.Bytes(cbor.MajorBytes, "a column")
	default:
		_, err = r.Int("a column")
	}
	return err
}

// Unpack gives the batch of a payload: what Encode compressed, or the payload itself when it is not
// compressed. Only a frame that shows a batch's header before it is decompressed may hold more than
// 1 MiB. The error wraps document.ErrMalformed or document.ErrLimit.
func Unpack(payload []byte) ([]byte, error) {
	limit := compress.MaxSize
	if compress.Compressed(payload) {
		limit = maxForeign
		if block, ok := compress.FirstBlock(payload); ok {
			r := newReader(block)
			if _, _, err := r.header(); err == nil {
				limit = compress.MaxSize
			}
		}
	}
	return compress.Unpack(payload, limit)
}

// maxForeign bounds the bytes of a batch in a frame that our encoder did not make.
const maxForeign = 1 << 20

// reader reads the CBOR of a batch from the front.
type reader struct{ cbor.Reader }

func newReader(batch []byte) reader { return reader{cbor.Reader{Data: batch, Of: "batch"}} }

func malformed(place, expected string) error {
	return fmt.Errorf("%s: %s: %w", place, expected, document.ErrMalformed)
}
