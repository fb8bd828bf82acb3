package schemas

import (
	"cmp"
	"strconv"

	"telltale.dev/protocol"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/signal"
)

// schemaDoc is the document of version 1; the short names are the wire's.
type schemaDoc struct {
	Version  int                 `cbor:"v"`
	Campaign protocol.CampaignID `cbor:"campaign"`
	Rule     string              `cbor:"rule"`
	Tick     int64               `cbor:"tick"`
	Mode     protocol.Mode       `cbor:"mode"`
	Files    [][]byte            `cbor:"dbc"`
	Signals  []signalDoc         `cbor:"signals"`
	Groups   [][]uint32          `cbor:"groups"`
}

// schemaDoc2 is the document of version 2.
type schemaDoc2 struct {
	Version  int                 `cbor:"v"`
	Campaign protocol.CampaignID `cbor:"campaign"`
	Rule     string              `cbor:"rule"`
	Tick     int64               `cbor:"tick"`
	Mode     protocol.Mode       `cbor:"mode"`
	Files    [][]byte            `cbor:"files,omitempty"`
	Signals  []signalDoc2        `cbor:"signals"`
	Groups   [][]uint32          `cbor:"groups"`
}

// meaningDoc is what all signals have. It leaves out what has its zero value, for there are many of them.
type meaningDoc struct {
	Name    string           `cbor:"n"`
	Unit    string           `cbor:"u,omitempty"`
	Message string           `cbor:"msg"`
	Bus     string           `cbor:"bus"`
	Signed  bool             `cbor:"signed,omitempty"`
	IEEE    int              `cbor:"ieee,omitempty"`
	Scale   string           `cbor:"scale,omitempty"`
	Offset  string           `cbor:"offset,omitempty"`
	Values  map[int64]string `cbor:"val,omitempty"`
	VSS     string           `cbor:"vss,omitempty"`
}

// bitsDoc is where a signal is in CAN frames.
type bitsDoc struct {
	ID        uint32 `cbor:"id"`
	Extended  bool   `cbor:"ext,omitempty"`
	J1939     bool   `cbor:"j1939,omitempty"`
	Start     int    `cbor:"start"`
	Length    int    `cbor:"len"`
	BigEndian bool   `cbor:"be,omitempty"`
}

// signalDoc is a signal of version 1, which all come from CAN.
type signalDoc struct {
	meaningDoc
	bitsDoc
}

// signalDoc2 is a signal of version 2. What is said of where it is depends on its kind.
type signalDoc2 struct {
	meaningDoc
	Kind signal.Kind `cbor:"kind,omitempty"` // left out: CAN
	CAN  *bitsDoc    `cbor:"can,omitempty"`
}

// document gives the document of s, which is valid.
func (s *Schema) document() any {
	files := make([][]byte, len(s.Files))
	for i := range s.Files {
		files[i] = s.Files[i][:]
	}
	groups := make([][]uint32, len(s.Groups))
	copy(groups, s.Groups)
	if s.Version == Version1 {
		d := &schemaDoc{Version: s.Version, Campaign: s.Campaign, Rule: s.Rule, Tick: s.Tick, Mode: s.Mode,
			Files: files, Signals: make([]signalDoc, len(s.Signals)), Groups: groups}
		for i := range s.Signals {
			d.Signals[i] = signalDoc{meaningOf(&s.Signals[i]), *bitsOf(&s.Signals[i])}
		}
		return d
	}
	d := &schemaDoc2{Version: s.Version, Campaign: s.Campaign, Rule: s.Rule, Tick: s.Tick, Mode: s.Mode,
		Files: files, Signals: make([]signalDoc2, len(s.Signals)), Groups: groups}
	for i := range s.Signals {
		in := &s.Signals[i]
		d.Signals[i] = signalDoc2{meaningDoc: meaningOf(in), CAN: bitsOf(in)}
		if in.CAN == nil {
			d.Signals[i].Kind = in.Kind
		}
	}
	return d
}

func meaningOf(s *signal.Signal) meaningDoc {
	return meaningDoc{
		Name: s.Name, Unit: s.Unit, Message: s.Message, Bus: s.Bus, Signed: s.Signed, IEEE: s.IEEE,
		Scale: omit(s.Scale, "1"), Offset: omit(s.Offset, "0"), Values: s.Values, VSS: s.VSS,
	}
}

// bitsOf gives nil for a signal that is not on CAN.
func bitsOf(s *signal.Signal) *bitsDoc {
	if s.CAN == nil {
		return nil
	}
	p := s.CAN
	return &bitsDoc{ID: p.ID.Number(), Extended: p.ID.IsExtended(), J1939: p.J1939, Start: p.Start, Length: p.Length, BigEndian: p.BigEndian}
}

// omit gives the empty text, which is not written, for what a reader assumes without it.
func omit(text, assumed string) string {
	if text == assumed {
		return ""
	}
	return text
}

func (d *schemaDoc) schema() (*Schema, error) {
	s := &Schema{Version: d.Version, Campaign: d.Campaign, Rule: d.Rule, Tick: d.Tick, Mode: d.Mode,
		Signals: make([]signal.Signal, len(d.Signals)), Groups: append([][]uint32(nil), d.Groups...)}
	var err error
	if s.Files, err = filesOf(d.Files, "dbc"); err != nil {
		return nil, err
	}
	for i := range d.Signals {
		in := &d.Signals[i]
		if s.Signals[i], err = in.signal(i, signal.CAN, &in.bitsDoc); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (d *schemaDoc2) schema() (*Schema, error) {
	s := &Schema{Version: d.Version, Campaign: d.Campaign, Rule: d.Rule, Tick: d.Tick, Mode: d.Mode,
		Signals: make([]signal.Signal, len(d.Signals)), Groups: append([][]uint32(nil), d.Groups...)}
	var err error
	if s.Files, err = filesOf(d.Files, "files"); err != nil {
		return nil, err
	}
	for i := range d.Signals {
		in := &d.Signals[i]
		if s.Signals[i], err = in.signal(i, cmp.Or(in.Kind, signal.CAN), in.CAN); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func filesOf(list [][]byte, field string) ([][32]byte, error) {
	files := make([][32]byte, len(list))
	for i, hash := range list {
		if copy(files[i][:], hash) != len(hash) || len(hash) != 32 {
			return nil, malformed(field+"["+strconv.Itoa(i)+"]", "expected 32 bytes")
		}
	}
	return files, nil
}

// signal makes signal number i.
func (d *meaningDoc) signal(i int, kind signal.Kind, place *bitsDoc) (signal.Signal, error) {
	s := signal.Signal{
		Kind: kind, Name: d.Name, Unit: d.Unit, Message: d.Message, Bus: d.Bus, Signed: d.Signed, IEEE: d.IEEE,
		Scale: cmp.Or(d.Scale, "1"), Offset: cmp.Or(d.Offset, "0"), Values: d.Values, VSS: d.VSS,
	}
	if place != nil {
		id := can.ID(place.ID)
		if id.IsExtended() {
			return s, malformed(member("signals", i, "id"), "expected the identifier without its format bit")
		}
		if place.Extended {
			id |= can.Extended
		}
		s.CAN = &signal.Bits{ID: id, J1939: place.J1939, Start: place.Start, Length: place.Length, BigEndian: place.BigEndian}
	}
	s.Prepare()
	return s, nil
}
