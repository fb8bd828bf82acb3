package codec

import (
	"fmt"

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
	dst = appendHead(dst, majorMap, 1)
	dst = appendHead(dst, majorUint, extQuality)
	return appendHead(dst, majorUint, uint64(h.TimeQuality))
}

// extensions reads a map of extensions: keys are rising numbers, values numbers, text or byte strings.
func (r *reader) extensions(h *Header) error {
	n, err := r.item(majorMap, "a map of extensions")
	if err != nil {
		return err
	}
	if n > maxExtensions {
		return fmt.Errorf("byte %d of the batch: %d extensions, expected at most %d: %w", r.pos, n, maxExtensions, document.ErrLimit)
	}
	var must []byte
	for i, last := uint64(0), uint64(0); i < n; i++ {
		key, err := r.uint("the key of an extension")
		if err != nil {
			return err
		}
		if i > 0 && key <= last {
			return r.fail("rising keys of extensions")
		}
		last = key
		switch key {
		case extMust:
			must, err = r.bytes(majorBytes, "keys of extensions")
		case extQuality:
			var q uint64
			if q, err = r.uint("a time quality"); q <= uint64(TimeUnsynced) {
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
			return fmt.Errorf("extension %d must be understood: %w", key, ErrVersion)
		}
	}
	return nil
}

func (r *reader) skipExtension() error {
	major, _, err := r.peek()
	switch {
	case err != nil:
		return err
	case major == majorBytes || major == majorText:
		_, err = r.bytes(major, "an extension")
	default:
		_, err = r.int("an extension")
	}
	return err
}
