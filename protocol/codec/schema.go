package codec

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"telltale.dev/protocol"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/document"
)

// SchemaVersion is the layout version of schema documents.
const SchemaVersion = 1

// DefaultTick is the time unit of batches in µs: one millisecond.
const DefaultTick = 1000

// Schema says what the groups and columns of batches mean. Its document is kept
// for ever under its hash, so a Schema never changes once batches refer to it.
type Schema struct {
	Version  int // SchemaVersion
	Campaign protocol.CampaignID
	Rule     string // the campaign's rule that the batches belong to
	Tick     int64  // µs per time unit of a batch, 1 to 60,000,000
	Mode     protocol.Mode
	DBC      [][32]byte // SHA-256 of the source DBC files, in bus order
	Signals  []Signal
	Groups   [][]uint32 // groups of signals that arrive together: indices into Signals
}

// schemaDoc is the document; the short names are the wire's.
type schemaDoc struct {
	Version  int                 `cbor:"v"`
	Campaign protocol.CampaignID `cbor:"campaign"`
	Rule     string              `cbor:"rule"`
	Tick     int64               `cbor:"tick"`
	Mode     protocol.Mode       `cbor:"mode"`
	DBC      [][]byte            `cbor:"dbc"`
	Signals  []signalDoc         `cbor:"signals"`
	Groups   [][]uint32          `cbor:"groups"`
}

// signalDoc leaves out what has its zero value, for there are many of them.
type signalDoc struct {
	Name      string           `cbor:"n"`
	Unit      string           `cbor:"u,omitempty"`
	Message   string           `cbor:"msg"`
	Bus       string           `cbor:"bus"`
	ID        uint32           `cbor:"id"`
	Extended  bool             `cbor:"ext,omitempty"`
	J1939     bool             `cbor:"j1939,omitempty"`
	Start     int              `cbor:"start"`
	Length    int              `cbor:"len"`
	BigEndian bool             `cbor:"be,omitempty"`
	Signed    bool             `cbor:"signed,omitempty"`
	IEEE      int              `cbor:"ieee,omitempty"`
	Scale     string           `cbor:"scale,omitempty"`
	Offset    string           `cbor:"offset,omitempty"`
	Values    map[int64]string `cbor:"val,omitempty"`
	VSS       string           `cbor:"vss,omitempty"`
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
	if len(doc) > MaxSchemaSize {
		return nil, hash, fmt.Errorf("write schema: %d bytes, expected at most %d: %w", len(doc), MaxSchemaSize, document.ErrLimit)
	}
	return doc, sha256.Sum256(doc), nil
}

func (s *Schema) document() *schemaDoc {
	d := &schemaDoc{
		Version: s.Version, Campaign: s.Campaign, Rule: s.Rule, Tick: s.Tick, Mode: s.Mode,
		DBC: make([][]byte, len(s.DBC)), Signals: make([]signalDoc, len(s.Signals)), Groups: make([][]uint32, len(s.Groups)),
	}
	for i := range s.DBC {
		d.DBC[i] = s.DBC[i][:]
	}
	for i := range s.Signals {
		d.Signals[i] = s.Signals[i].document()
	}
	copy(d.Groups, s.Groups)
	return d
}

func (s *Signal) document() signalDoc {
	return signalDoc{
		Name: s.Name, Unit: s.Unit, Message: s.Message, Bus: s.Bus,
		ID: s.ID.Number(), Extended: s.ID.IsExtended(), J1939: s.J1939,
		Start: s.Start, Length: s.Length, BigEndian: s.BigEndian, Signed: s.Signed, IEEE: s.IEEE,
		Scale: omit(s.Scale, "1"), Offset: omit(s.Offset, "0"), Values: s.Values, VSS: s.VSS,
	}
}

// omit gives the empty text, which is not written, for what a reader assumes without it.
func omit(text, assumed string) string {
	if text == assumed {
		return ""
	}
	return text
}

// ParseSchema reads a schema document, also one that Pack compressed. Only the
// bytes that Encode would write are accepted, so that a document has one hash.
// The error wraps document.ErrMalformed, document.ErrLimit or ErrVersion.
func ParseSchema(doc []byte) (*Schema, error) {
	doc, err := Unpack(doc, MaxSchemaSize)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	var d schemaDoc
	if err := document.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	s, err := d.schema()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	again, _, err := s.Encode()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if !bytes.Equal(again, doc) {
		return nil, fmt.Errorf("schema: expected deterministic CBOR: %w", document.ErrMalformed)
	}
	return s, nil
}

func (d *schemaDoc) schema() (*Schema, error) {
	s := &Schema{
		Version: d.Version, Campaign: d.Campaign, Rule: d.Rule, Tick: d.Tick, Mode: d.Mode,
		DBC: make([][32]byte, len(d.DBC)), Signals: make([]Signal, len(d.Signals)), Groups: d.Groups,
	}
	for i, hash := range d.DBC {
		if copy(s.DBC[i][:], hash) != len(hash) || len(hash) != 32 {
			return nil, malformed("dbc["+strconv.Itoa(i)+"]", "expected 32 bytes")
		}
	}
	for i := range d.Signals {
		in := &d.Signals[i]
		id := can.ID(in.ID)
		if id.IsExtended() {
			return nil, malformed(member("signals", i, "id"), "expected the identifier without its format bit")
		}
		if in.Extended {
			id |= can.Extended
		}
		s.Signals[i] = Signal{
			Name: in.Name, Unit: in.Unit, Message: in.Message, Bus: in.Bus, ID: id, J1939: in.J1939,
			Start: in.Start, Length: in.Length, BigEndian: in.BigEndian, Signed: in.Signed, IEEE: in.IEEE,
			Scale: cmp.Or(in.Scale, "1"), Offset: cmp.Or(in.Offset, "0"), Values: in.Values, VSS: in.VSS,
		}
		s.Signals[i].prepare()
	}
	return s, nil
}

func (s *Schema) validate() error {
	if s.Version != SchemaVersion {
		return fmt.Errorf("v is %d, expected %d: %w", s.Version, SchemaVersion, ErrVersion)
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
	if len(s.Signals) > MaxColumns || len(s.Groups) > MaxGroups || len(s.DBC) > MaxColumns {
		return fmt.Errorf("%d signals in %d groups, expected at most %d in %d: %w",
			len(s.Signals), len(s.Groups), MaxColumns, MaxGroups, document.ErrLimit)
	}
	for i := range s.Signals {
		if err := s.Signals[i].validate(i); err != nil {
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

func (s *Signal) validate(i int) error {
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
	case s.Start < 0 || s.Start >= 8*math.MaxUint16 || s.Length < 1 || s.Length > 64:
		return malformed(member("signals", i, "len"), "expected 1 to 64 bits within the frame")
	case s.IEEE != 0 && s.IEEE != 32 && s.IEEE != 64:
		return malformed(member("signals", i, "ieee"), "expected 32 or 64")
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
