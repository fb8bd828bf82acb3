package codec

import (
	"fmt"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// Layout versions of batches, their first element. Version 1 has no extensions; it is written
// when there are none, so that a cloud of before takes it, too.
const (
	batchVersion1 = 1
	BatchVersion  = 2
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
	version := uint64(batchVersion1)
	if h.TimeQuality != TimeUnknown {
		version = BatchVersion
		elements++
	}
	dst = appendHead(dst, majorArray, uint64(elements))
	dst = appendHead(dst, majorUint, version)
	dst = appendBytes(dst, h.Schema[:])
	dst = append(appendHead(dst, majorText, uint64(len(h.ID.Device))), h.ID.Device...)
	dst = appendBytes(dst, h.ID.Boot[:])
	dst = appendHead(dst, majorUint, h.ID.Seq)
	if version == BatchVersion {
		dst = h.appendExtensions(dst)
	}
	if len(h.Evicted) > 0 {
		dst = appendHead(dst, majorArray, uint64(len(h.Evicted)))
		for i := range h.Evicted {
			r := &h.Evicted[i]
			dst = appendHead(dst, majorArray, 3)
			dst = appendBytes(dst, r.Boot[:])
			dst = appendHead(dst, majorUint, r.From)
			dst = appendHead(dst, majorUint, r.To)
		}
	}
	return dst
}

// appendTail writes the elements after the groups.
func (h *Header) appendTail(dst []byte) []byte {
	if h.Drops > 0 {
		dst = appendHead(append(dst, simpleNull), majorUint, h.Drops)
	}
	return dst
}

// header reads what append wrote, and says whether a tail follows the groups.
func (r *reader) header() (h Header, tail bool, err error) {
	elements, err := r.array(11, "an array of at most 11 elements")
	if err != nil {
		return h, false, err
	}
	version, err := r.uint("a layout version")
	if err != nil {
		return h, false, err
	}
	if version < batchVersion1 || version > BatchVersion {
		return h, false, fmt.Errorf("version %d, expected %d or %d: %w", version, batchVersion1, BatchVersion, ErrVersion)
	}
	if err := r.exactly(h.Schema[:], "a schema id"); err != nil {
		return h, false, err
	}
	if h.ID, err = r.messageID(); err != nil {
		return h, false, err
	}
	used := 7
	if version == BatchVersion {
		used++
		if err := r.extensions(&h); err != nil {
			return h, false, err
		}
	}
	if major, _, err := r.peek(); err == nil && major == majorArray {
		used++
		if h.Evicted, err = r.evicted(); err != nil {
			return h, false, err
		}
	}
	if elements != used && elements != used+2 {
		return h, false, r.fail("as many elements as the array's head says")
	}
	return h, elements > used, h.validate()
}

func (r *reader) messageID() (id protocol.MessageID, err error) {
	device, err := r.bytes(majorText, "a device id")
	if err != nil {
		return id, err
	}
	id.Device = protocol.DeviceID(device)
	if err := r.exactly(id.Boot[:], "a boot id"); err != nil {
		return id, err
	}
	id.Seq, err = r.uint("a sequence")
	return id, err
}

// exactly reads a byte string as long as dst.
func (r *reader) exactly(dst []byte, expected string) error {
	data, err := r.bytes(majorBytes, expected)
	if err == nil && len(data) != len(dst) {
		err = r.fail(expected)
	}
	copy(dst, data)
	return err
}

func (r *reader) evicted() ([]protocol.SeqRange, error) {
	n, err := r.array(MaxEvicted, "evicted ranges")
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, r.fail("at least one evicted range")
	}
	var ranges []protocol.SeqRange
	for range n {
		if members, err := r.array(3, "an evicted range"); err != nil || members != 3 {
			return nil, r.fail("an evicted range of three")
		}
		var e protocol.SeqRange
		if err := r.exactly(e.Boot[:], "a boot id"); err != nil {
			return nil, err
		}
		if e.From, err = r.uint("a sequence"); err != nil {
			return nil, err
		}
		if e.To, err = r.uint("a sequence"); err != nil {
			return nil, err
		}
		ranges = append(ranges, e)
	}
	return ranges, nil
}

// tail reads what appendTail wrote.
func (r *reader) tail(h *Header) (err error) {
	if err := r.null(); err != nil {
		return err
	}
	if h.Drops, err = r.uint("a number of lost frames"); err == nil && h.Drops == 0 {
		err = r.fail("lost frames from 1")
	}
	return err
}

// ParseHeader reads a payload's header without decoding columns, which it does
// not check. When the header is the first, stored block of the compressed
// frame, as Encode makes it, and no tail follows the groups, nothing is
// decompressed. The error wraps document.ErrMalformed, document.ErrLimit or ErrVersion.
func ParseHeader(payload []byte) (Header, error) {
	h, err := parseHeader(payload)
	if err != nil {
		return Header{}, fmt.Errorf("batch header: %w", err)
	}
	return h, nil
}

func parseHeader(payload []byte) (Header, error) {
	if block, ok := firstBlock(payload); ok {
		r := reader{data: block}
		if h, tail, err := r.header(); err == nil && !tail {
			return h, nil
		}
	}
	plain, err := unpackBatch(payload)
	if err != nil {
		return Header{}, err
	}
	r := reader{data: plain}
	h, tail, err := r.header()
	if err != nil || !tail {
		return h, err
	}
	return h, r.skipToTail(&h)
}

// skipToTail steps over t0 and the groups.
func (r *reader) skipToTail(h *Header) error {
	if _, err := r.int("a start time"); err != nil {
		return err
	}
	groups, err := r.array(MaxGroups, "groups")
	if err != nil {
		return err
	}
	for range groups {
		columns, err := r.array(MaxColumns+3, "a group")
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
	major, null, err := r.peek()
	switch {
	case err != nil:
		return err
	case null:
		return r.null()
	case major == majorBytes:
		_, err = r.bytes(majorBytes, "a column")
	default:
		_, err = r.int("a column")
	}
	return err
}
