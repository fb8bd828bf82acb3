package batches

import (
	"fmt"

	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/document"
)

// Keys of a batch's extensions. A reader passes over those that it does not know, unless the
// batch lists them as extMust: then it refuses the batch.
const (
	extMust    = 0 // byte string: keys that must be understood, one in each byte
	extQuality = 1 // number: TimeQuality
)

// maxExtensions bounds the extensions of a batch.
const maxExtensions = 32

// appendExtensions writes the map of extensions of version 2.
func (h *Header) appendExtensions(dst []byte) []byte {
	dst = cbor.AppendHead(dst, cbor.MajorMap, 1)
	dst = cbor.AppendHead(dst, cbor.MajorUint, extQuality)
	return cbor.AppendHead(dst, cbor.MajorUint, uint64(h.TimeQuality))
}

// extensions reads a map of extensions: keys are rising numbers, values numbers, text or byte strings.
func (r *reader) extensions(h *Header) error {
	n, err := r.Item(cbor.MajorMap, "a map of extensions")
	if err != nil {
		return err
	}
	if n > maxExtensions {
		return fmt.Errorf("byte %d of the batch: %d extensions, expected at most %d: %w", r.Pos, n, maxExtensions, document.ErrLimit)
	}
	var must []byte
	for i, last := uint64(0), uint64(0); i < n; i++ {
		key, err := r.Uint("the key of an extension")
		if err != nil {
			return err
		}
		if i > 0 && key <= last {
			return r.Fail("rising keys of extensions")
		}
		last = key
		switch key {
		case extMust:
			must, err = r.Bytes(cbor.MajorBytes, "keys of extensions")
		case extQuality:
			var q uint64
			if q, err = r.Uint("a time quality"); q <= uint64(TimeUnsynced) {
				h.TimeQuality = TimeQuality(q)
			}
		default:
			err = r.skipExtension()
		}
		if err != nil {
			return err
		}
	}
	for _, key := range must {
		if key != extMust && key != extQuality {
			return fmt.Errorf("extension %d must be understood: %w", key, document.ErrVersion)
		}
	}
	return nil
}

func (r *reader) skipExtension() error {
	major, _, err := r.Peek()
	switch {
	case err != nil:
		return err
	case major == cbor.MajorBytes || major == cbor.MajorText:
		_, err = r.Bytes(major, "an extension")
	default:
		_, err = r.Int("an extension")
	}
	return err
}
