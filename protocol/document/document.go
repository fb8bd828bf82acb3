// Package document writes and reads documents: deterministic CBOR (RFC 8949, 4.2.1), read
// within bounds and strictly, or openly towards fields that a later version adds. It also has
// the answer that a vehicle gives to a document.
package document

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Limits of a document. They bound the memory that a few bytes can ask for.
const (
	MaxSize    = 16 << 20 // bytes
	MaxDepth   = 16       // levels of nesting
	MaxMembers = 1 << 16  // members of one array or map
)

// Errors that callers branch on. They are wrapped by errors that name the place.
var (
	// ErrMalformed says that bytes are not what they should be.
	ErrMalformed = errors.New("malformed")
	// ErrLimit says that bytes ask for more than a limit.
	ErrLimit = errors.New("over the limit")
	// ErrVersion says that bytes have a layout that this version cannot read.
	ErrVersion = errors.New("layout version not known")
)

// documentEncoding writes deterministic CBOR; documentDecoding reads it strictly.
// Neither changes once made.
var (
	documentEncoding = sync.OnceValues(func() (cbor.EncMode, error) {
		opts := cbor.CoreDetEncOptions()
		opts.TextMarshaler = cbor.TextMarshalerTextString
		return opts.EncMode()
	})
	documentDecoding = sync.OnceValues(func() (cbor.DecMode, error) { return documentOptions().DecMode() })
)

// documentOptions are those of documentDecoding.
func documentOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:                cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:          MaxDepth,
		MaxArrayElements:         MaxMembers,
		MaxMapPairs:              MaxMembers,
		IndefLength:              cbor.IndefLengthForbidden,
		TagsMd:                   cbor.TagsForbidden,
		ExtraReturnErrors:        cbor.ExtraDecErrorUnknownField,
		UTF8:                     cbor.UTF8RejectInvalid,
		FieldNameMatching:        cbor.FieldNameMatchingCaseSensitive,
		NaN:                      cbor.NaNDecodeForbidden,
		Inf:                      cbor.InfDecodeForbidden,
		TextUnmarshaler:          cbor.TextUnmarshalerTextString,
		ByteStringToString:       cbor.ByteStringToStringForbidden,
		FieldNameByteString:      cbor.FieldNameByteStringForbidden,
		BignumTag:                cbor.BignumTagForbidden,
		ByteStringExpectedFormat: cbor.ByteStringExpectedFormatNone,
	}
}

// Marshal writes v as deterministic CBOR. Fields are named by their cbor tags.
func Marshal(v any) ([]byte, error) {
	mode, err := documentEncoding()
	if err != nil {
		return nil, err
	}
	data, err := mode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write document: %w", err)
	}
	return data, nil
}

// Unmarshal reads a document into v, which is a pointer. At most MaxSize
// bytes, MaxDepth levels and MaxMembers members of an array or map are read.
// Unknown fields (see UnmarshalOpen), duplicate keys, indefinite lengths, tags and bytes left over
// are refused, and so is a document without a field that v requires: `cbor:"name,required"`. The error wraps ErrMalformed, or ErrLimit when data is too long.
func Unmarshal(data []byte, v any) error {
	if len(data) > MaxSize {
		return fmt.Errorf("document of %d bytes, expected at most %d: %w", len(data), MaxSize, ErrLimit)
	}
	mode, err := documentDecoding()
	if err != nil {
		return err
	}
	return read(mode, data, v)
}

// read decodes a document and looks for the fields that it must have.
func read(mode cbor.DecMode, data []byte, v any) error {
	err := mode.Unmarshal(data, v)
	if err == nil {
		err = checkRequired(mode, data, reflect.TypeOf(v))
	}
	if err != nil {
		return fmt.Errorf("read document: %w: %w", describe(err), ErrMalformed)
	}
	return nil
}

// describe says what is wrong in the words of the document instead of those of Go.
func describe(err error) error {
	var field *cbor.UnmarshalTypeError
	var extra *cbor.ExtraneousDataError
	var unknown *cbor.UnknownFieldError
	switch {
	case errors.As(err, &field) && field.StructFieldName != "":
		name := field.StructFieldName[strings.LastIndexByte(field.StructFieldName, '.')+1:]
		return fmt.Errorf("field %s: %s does not fit", name, field.CBORType)
	case errors.As(err, &unknown):
		return fmt.Errorf("field number %d of a map is not known%w", unknown.Index+1, hidden{err})
	case errors.As(err, &extra):
		return errors.New("bytes are left over at the end")
	}
	return err
}

// hidden keeps an error for errors.As without showing its text.
type hidden struct{ error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.error }
