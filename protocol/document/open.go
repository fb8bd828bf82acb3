package document

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// ErrNotSupported is wrapped by errors about a document that says of a field which this
// version does not know that it must be understood.
var ErrNotSupported = errors.New("not supported")

// MaxMust is how many fields a document may list as those that must be understood.
const MaxMust = 64

// openDecoding is documentDecoding that passes over fields it does not know.
var openDecoding = sync.OnceValues(func() (cbor.DecMode, error) {
	opts := documentOptions()
	opts.ExtraReturnErrors = cbor.ExtraDecErrorNone
	return opts.DecMode()
})

// UnmarshalOpen reads a document into v as Unmarshal does, and passes over fields that
// it does not know, which a later version may have added. The document may list fields
// that must not be passed over in its array "must": by name, fields of fields as
// "spec.collect.when". If one of those is not known the error wraps ErrNotSupported.
// What is known is read as strictly as by Unmarshal.
func UnmarshalOpen(data []byte, v any) error {
	if len(data) > MaxSize {
		return fmt.Errorf("document of %d bytes, expected at most %d: %w", len(data), MaxSize, ErrLimit)
	}
	mode, err := openDecoding()
	if err != nil {
		return err
	}
	var demand struct {
		Must []string `cbor:"must"`
	}
	if err := mode.Unmarshal(data, &demand); err != nil {
		return fmt.Errorf("read document: %w: %w", describe(err), ErrMalformed)
	}
	if len(demand.Must) > MaxMust {
		return fmt.Errorf("document lists %d fields in must, expected at most %d: %w", len(demand.Must), MaxMust, ErrLimit)
	}
	for i, path := range demand.Must {
		if !known(reflect.TypeOf(v), strings.Split(path, ".")) {
			return fmt.Errorf("field number %d of must is not known: %w", i+1, ErrNotSupported)
		}
	}
	return read(mode, data, v)
}

// UnmarshalKnown reads into v what it knows, whatever the document demands to be understood:
// for saying which document it was that had to be refused, never for acting upon it.
func UnmarshalKnown(data []byte, v any) error {
	mode, err := openDecoding()
	if err != nil {
		return err
	}
	return mode.Unmarshal(data, v)
}

// known says whether a type has a field of this path, by the names of the wire.
func known(t reflect.Type, path []string) bool {
	for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map}, t.Kind()) {
		if t.Kind() == reflect.Map && len(path) > 0 {
			path = path[1:] // keys of a map are data: any is known
		}
		t = t.Elem()
	}
	if len(path) == 0 {
		return true
	}
	if t.Kind() != reflect.Struct || path[0] == "" || path[0] == "-" { // the tags of fields that have no name on the wire
		return false
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("cbor"), ",")
		switch {
		case field.Anonymous && name == "": // its fields count as the struct's own
			if known(field.Type, path) {
				return true
			}
		case name == path[0]:
			return known(field.Type, path[1:])
		}
	}
	return false
}
