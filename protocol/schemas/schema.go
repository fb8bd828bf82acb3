// Package schemas turns schema documents into bytes and back: what the columns of batches mean
// (protocol/batches) and where their values come from.
//
// A document is deterministic CBOR, known by its SHA-256, and never changes. It is read within
// bounds and strictly; fields that are not known are refused, but in documents that have room for
// extension (document.UnmarshalOpen, schemas of version 2).
//
// A schema document is
//
//	schema = {
//	  "v": 2, "campaign": tstr, "rule": tstr,
//	  "tick": uint,                       ; µs for each unit of time
//	  "mode": "all" / "grid" / "onchange",
//	  ? "files": [* bstr .size 32],       ; hashes of the files that describe the signals
//	  "signals": [* signal],
//	  "groups": [* [+ uint]],             ; signals that arrive together, by their place in signals
//	  ? "must": [* tstr],                 ; fields that a reader must not pass over
//	}
//	signal = {
//	  "n": tstr, "bus": tstr, "msg": tstr, ? "u": tstr, ? "vss": tstr,
//	  ? "signed": true, ? "ieee": 32 / 64, ? "scale": tstr, ? "offset": tstr, ? "val": {* int => tstr},
//	  ("can": {"id": uint, ? "ext": true, ? "j1939": true, "start": uint, "len": uint, ? "be": true} //
//	   "kind": tstr)                      ; gnss, workload, diagnostics, or of a later version
//	}
//
// Version 1 has "dbc" instead of "files", the members of "can" in the signal
// itself and no "kind"; it is written as long as it can say it, and read strictly.
//
// The package knows no topics, queues or files, asks no clock and starts no goroutine.
package schemas

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"telltale.dev/protocol"
	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/signal"
)

// Versions of schema documents. The lowest one that can say what a schema says is written, so that readers of before
// take it.
const (
	// Version1 is that of schemas whose signals all come from CAN. It is read strictly: unknown fields are refused.
	Version1 = 1
	// Version2 knows signals of other kinds, and has room for extension: unknown fields are passed over, but for
	// those that the document lists in "must" (see document.UnmarshalOpen).
	Version2 = 2
)

// Limits of schemas. They bound the memory that a few bytes can ask for.
const (
	MaxSize    = 4 << 20 // bytes of a schema document
	MaxColumns = 1 << 16 // columns of a batch, and signals or group members of a schema
	MaxGroups  = 1 << 15 // groups of a schema
	maxName    = 512     // bytes of a name, unit or value text in a schema
	maxKind    = 32      // bytes of a signal's kind
	maxDecimal = 64      // bytes of a scale or offset in a schema
	maxTick    = 60_000_000
)

// DefaultTick is the time unit of batches in µs: one millisecond.
const DefaultTick = 1000

// Schema says what the groups and columns of batches mean. Its document is kept
// for ever under its hash, so a Schema never changes once batches refer to it.
type Schema struct {
	Version  int // Version1 or Version2
	Campaign protocol.CampaignID
	Rule     string // the campaign's rule that the batches belong to
	Tick     int64  // µs per time unit of a batch, 1 to 60,000,000
	Mode     protocol.Mode
	Files    [][32]byte // SHA-256 of the files that describe the signals, such as DBC files, in the order of the sources
	Signals  []signal.Signal
	Groups   [][]uint32 // groups of signals that arrive together: indices into Signals
}

// Encode writes the document, which is deterministic, and its SHA-256. The
// error wraps document.ErrMalformed or document.ErrLimit and names the field.
func (s *Schema) Encode() (doc []byte, hash protocol.SchemaHash, err error) {
	if err := s.validate(); err != nil {
		return nil, hash, fmt.Errorf("write schema: %w", err)
	}
	doc, err = document.Marshal(s.document())
	if err != nil {
		return nil, hash, err
	}
	if len(doc) > MaxSize {
		return nil, hash, fmt.Errorf("write schema: %d bytes, expected at most %d: %w", len(doc), MaxSize, document.ErrLimit)
	}
	return doc, sha256.Sum256(doc), nil
}

// Parse reads a schema document of any version, also one that compress.Pack compressed. Its hash is that of the bytes that
// were received, after compress.Unpack: they must be deterministic CBOR, fields that are not known included, and are to be kept
// as they are. The error wraps document.ErrMalformed, document.ErrLimit, document.ErrVersion, or document.ErrNotSupported when a
// field that is not known must be understood.
func Parse(doc []byte) (*Schema, error) {
	s, err := parse(doc)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return s, nil
}

func parse(doc []byte) (*Schema, error) {
	doc, err := compress.Unpack(doc, MaxSize)
	if err != nil {
		return nil, err
	}
	if err := cbor.CheckCanonical(doc); err != nil {
		return nil, err
	}
	version, err := schemaVersion(doc)
	if err != nil {
		return nil, err
	}
	var s *Schema
	switch version {
	case Version1:
		var d schemaDoc
		if err := document.Unmarshal(doc, &d); err != nil {
			return nil, err
		}
		s, err = d.schema()
	case Version2:
		var d schemaDoc2
		if err := document.UnmarshalOpen(doc, &d); err != nil {
			return nil, err
		}
		s, err = d.schema()
	default:
		err = versionError(version)
	}
	if err != nil {
		return nil, err
	}
	return s, s.validate()
}

// schemaVersion reads the version alone.
func schemaVersion(doc []byte) (int, error) {
	var d struct {
		Version int `cbor:"v"`
	}
	if err := document.UnmarshalKnown(doc, &d); err != nil {
		return 0, fmt.Errorf("v: %w: %w", err, document.ErrMalformed)
	}
	return d.Version, nil
}

func versionError(v int) error {
	return fmt.Errorf("v is %d, expected %d or %d: %w", v, Version1, Version2, document.ErrVersion)
}

func (s *Schema) validate() error {
	if s.Version != Version1 && s.Version != Version2 {
		return versionError(s.Version)
	}
	if _, err := protocol.ParseCampaignID(string(s.Campaign)); err != nil {
		return malformed("campaign", err.Error())
	}
	if err := checkText("rule", s.Rule, maxName); err != nil {
		return err
	}
	if s.Tick < 1 || s.Tick > maxTick {
		return malformed("tick", "expected 1 to "+strconv.Itoa(maxTick)+" µs")
	}
	switch s.Mode {
	case protocol.ModeAll, protocol.ModeGrid, protocol.ModeOnChange:
	default:
		return malformed("mode", "expected all, grid or onchange")
	}
	if len(s.Signals) > MaxColumns || len(s.Groups) > MaxGroups || len(s.Files) > MaxColumns {
		return fmt.Errorf("%d signals in %d groups, expected at most %d in %d: %w",
			len(s.Signals), len(s.Groups), MaxColumns, MaxGroups, document.ErrLimit)
	}
	for i := range s.Signals {
		if err := checkSignal(&s.Signals[i], i, s.Version); err != nil {
			return err
		}
	}
	return s.validateGroups()
}

func (s *Schema) validateGroups() error {
	total := 0
	for g, members := range s.Groups {
		if len(members) == 0 {
			return malformed("groups["+strconv.Itoa(g)+"]", "expected at least one signal")
		}
		seen := make(map[uint32]bool, len(members))
		for _, m := range members {
			if int64(m) >= int64(len(s.Signals)) || seen[m] {
				return malformed("groups["+strconv.Itoa(g)+"]", "expected different indices into signals")
			}
			seen[m] = true
		}
		total += len(members)
	}
	if total > MaxColumns {
		return fmt.Errorf("groups have %d members, expected at most %d: %w", total, MaxColumns, document.ErrLimit)
	}
	return nil
}

func checkSignal(s *signal.Signal, i, version int) error {
	for _, text := range [...]struct{ field, s string }{
		{"n", s.Name}, {"u", s.Unit}, {"msg", s.Message}, {"bus", s.Bus}, {"vss", s.VSS},
	} {
		if err := checkText(member("signals", i, text.field), text.s, maxName); err != nil {
			return err
		}
	}
	switch {
	case s.Name == "":
		return malformed(member("signals", i, "n"), "expected a name")
	case s.IEEE != 0 && s.IEEE != 32 && s.IEEE != 64:
		return malformed(member("signals", i, "ieee"), "expected 32 or 64")
	}
	if err := checkPlace(s, i, version); err != nil {
		return err
	}
	if err := checkDecimal(member("signals", i, "scale"), s.Scale); err != nil {
		return err
	}
	if err := checkDecimal(member("signals", i, "offset"), s.Offset); err != nil {
		return err
	}
	for _, text := range s.Values {
		if err := checkText(member("signals", i, "val"), text, maxName); err != nil {
			return err
		}
	}
	return nil
}

// checkPlace holds the kind of a signal against what is said of where it is.
func checkPlace(s *signal.Signal, i, version int) error {
	place := s.CAN
	switch {
	case !validKind(s.Kind):
		return malformed(member("signals", i, "kind"), "expected a word of at most 32 lower-case letters, digits and hyphens")
	case onCAN(s) != (place != nil):
		return malformed(member("signals", i, "can"), "expected a place on the bus for signals of kind can, and for no others")
	case place == nil && version == Version1:
		return fmt.Errorf("%s: only version %d knows other kinds than can: %w", member("signals", i, "kind"), Version2, document.ErrVersion)
	case place != nil && (place.Start < 0 || place.Start >= 8*math.MaxUint16 || place.Length < 1 || place.Length > 64):
		return malformed(member("signals", i, "len"), "expected 1 to 64 bits within the frame")
	}
	return nil
}

func onCAN(s *signal.Signal) bool { return s.Kind == "" || s.Kind == signal.CAN }

// validKind says whether a kind is spelt like one, known or not.
func validKind(k signal.Kind) bool {
	spelt := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
	return len(k) <= maxKind && !strings.ContainsFunc(string(k), func(r rune) bool { return !spelt(r) })
}

func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s: %d bytes, expected at most %d: %w", field, len(s), limit, document.ErrLimit)
	}
	if !utf8.ValidString(s) {
		return malformed(field, "expected UTF-8")
	}
	return nil
}

func checkDecimal(field, s string) error {
	if s == "" {
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || len(s) > maxDecimal || math.IsInf(v, 0) || math.IsNaN(v) {
		return malformed(field, "expected a decimal number")
	}
	return nil
}

func member(list string, i int, field string) string {
	return list + "[" + strconv.Itoa(i) + "]." + field
}

func malformed(place, expected string) error {
	return fmt.Errorf("%s: %s: %w", place, expected, document.ErrMalformed)
}
