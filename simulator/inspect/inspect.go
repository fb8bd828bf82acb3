// Package inspect turns what travels between vehicles and cloud into values for a person to read.
package inspect

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
	"telltale.dev/protocol/updates"
)

// What Payload found.
const (
	Batch     = "batch"
	Schema    = "schema"
	Presence  = "presence"
	Status    = "document status"
	Campaigns = "campaign list"
	Campaign  = "campaign"
	Update    = "update"
	Feedback  = "update feedback"
	Storage   = "storage event"
	CBOR      = "cbor"
)

// Payload turns any payload of the wire into values for encoding/json, for a
// person to read, and says what it is. Compressed payloads are unpacked. A
// batch whose schema the given function does not know is shown without names
// and values. One newline at the end, as tools add it, is forgiven. The error
// wraps document.ErrMalformed, document.ErrLimit or document.ErrVersion.
func Payload(data []byte, schema func(protocol.SchemaID) (*schemas.Schema, bool)) (any, string, error) {
	v, what, err := inspect(data, schema)
	if n := len(data) - 1; err != nil && n > 0 && data[n] == '\n' {
		if v, what, err := inspect(data[:n], schema); err == nil {
			return v, what, nil
		}
	}
	return v, what, err
}

func inspect(data []byte, schema func(protocol.SchemaID) (*schemas.Schema, bool)) (any, string, error) {
	plain, err := batches.Unpack(data)
	if errors.Is(err, document.ErrLimit) {
		plain, err = compress.Unpack(data, schemas.MaxSize)
	}
	if err != nil {
		return nil, "", err
	}
	if len(plain) == 0 {
		return nil, "", fmt.Errorf("payload: expected at least one byte: %w", document.ErrMalformed)
	}
	switch {
	case plain[0]>>5 == cbor.MajorMap:
		return inspectDocument(plain)
	case plain[0]>>5 == cbor.MajorArray:
		v, err := inspectBatch(plain, schema)
		if err == nil {
			return v, Batch, nil
		}
		if any, err := inspectAny(plain); err == nil && !batches.Begins(plain) {
			return any, CBOR, nil
		}
		return nil, "", err
	}
	v, err := inspectAny(plain)
	if err == nil {
		return v, CBOR, nil
	}
	if c, yamlErr := campaigns.ParseChange(plain); yamlErr == nil {
		return c, Campaign, nil
	} else if printable(plain) {
		err = yamlErr
	}
	return nil, "", err
}

func printable(text []byte) bool {
	for _, c := range text[:min(len(text), 64)] {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// inspectDocument tells the documents apart by fields that only one of them has.
func inspectDocument(doc []byte) (any, string, error) {
	var fields map[string]any
	if err := document.Unmarshal(doc, &fields); err != nil {
		v, err := inspectAny(doc) // its keys may be no text
		return v, CBOR, err
	}
	has := func(name string) bool { _, ok := fields[name]; return ok }
	switch {
	case has("signals") && has("groups"):
		s, err := schemas.Parse(doc)
		if err != nil {
			return nil, "", err
		}
		return viewSchema(s), Schema, nil
	case has("state") && has("conn"):
		v, err := typed[protocol.Presence](doc)
		return v, Presence, err
	case has("doc") && has("results"):
		v, err := typed[document.Status](doc)
		return v, Status, err
	case has("campaigns") && has("rev"):
		v, err := typed[campaigns.Set](doc)
		return v, Campaigns, err
	case has("file") && has("size"):
		v, err := typed[updates.Update](doc)
		return v, Update, err
	case has("did") && has("running"):
		v, err := typed[updates.Feedback](doc)
		return v, Feedback, err
	case has("did") && has("storage"):
		v, err := typed[events.Storage](doc)
		return v, Storage, err
	case has("apiVersion") && has("spec"):
		c, err := campaigns.Parse(doc)
		return c, Campaign, err
	}
	return plainValue(fields), CBOR, nil
}

func typed[T any](doc []byte) (any, error) {
	v := new(T)
	if err := document.Unmarshal(doc, v); err != nil {
		return nil, err
	}
	return v, nil
}

func inspectAny(data []byte) (any, error) {
	var v any
	if err := document.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return plainValue(v), nil
}

// plainValue makes a decoded CBOR value fit for JSON: keys become text, bytes hexadecimal digits.
func plainValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return hex.EncodeToString(v)
	case []any:
		for i := range v {
			v[i] = plainValue(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = plainValue(v[key])
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, member := range v {
			out[fmt.Sprint(plainValue(key))] = plainValue(member)
		}
		return out
	}
	return v
}

// physical is a number that JSON may not be able to write.
type physical float64

// MarshalJSON writes null for what is no finite number.
func (p physical) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(p)) || math.IsInf(float64(p), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(p))
}

// The views are what Payload shows of batches and schemas.
type (
	batchView struct {
		Schema  string      `json:"schema"`
		Device  string      `json:"device"`
		Boot    string      `json:"boot"`
		Seq     uint64      `json:"seq"`
		Evicted []rangeView `json:"evicted,omitempty"`
		Drops   uint64      `json:"drops,omitempty"`
		Quality string      `json:"time_quality,omitempty"`
		Start   string      `json:"start,omitempty"`
		Note    string      `json:"note,omitempty"`
		Groups  any         `json:"groups"`
	}
	rangeView struct {
		Boot string `json:"boot"`
		From uint64 `json:"from"`
		To   uint64 `json:"to"`
	}
	groupView struct {
		Group   int          `json:"group"`
		Bus     string       `json:"bus"`
		Message string       `json:"message"`
		Rows    int          `json:"rows"`
		Time    []int64      `json:"time_us"`
		Signals []columnView `json:"signals"`
	}
	columnView struct {
		Signal string     `json:"signal"`
		Unit   string     `json:"unit,omitempty"`
		Row    []int      `json:"row,omitempty"` // only when not each row has a value
		Raw    []int64    `json:"raw"`
		Value  []physical `json:"value"`
		Text   []string   `json:"text,omitempty"`
	}
)

func inspectBatch(plain []byte, schema func(protocol.SchemaID) (*schemas.Schema, bool)) (any, error) {
	h, err := batches.ParseHeader(plain)
	if err != nil {
		return nil, err
	}
	view := batchView{
		Schema: h.Schema.String(), Device: string(h.ID.Device), Boot: h.ID.Boot.String(), Seq: h.ID.Seq,
		Quality: h.TimeQuality.String(),
	}
	for _, e := range h.Evicted {
		view.Evicted = append(view.Evicted, rangeView{e.Boot.String(), e.From, e.To})
	}
	if s, ok := schema(h.Schema); ok {
		b, err := batches.Decode(plain, s)
		if err != nil {
			return nil, err
		}
		view.Drops, view.Groups = b.Drops, viewGroups(b, s)
		view.Start = time.UnixMicro(b.T0).UTC().Format(time.RFC3339Nano)
		return view, nil
	}
	view.Note = "the schema is not known, so values and names are not shown"
	outline, err := batches.ReadOutline(plain)
	if err != nil {
		return nil, err
	}
	view.Drops, view.Groups = outline.Drops, outline.Groups
	return view, nil
}

func viewGroups(b *batches.Batch, s *schemas.Schema) []groupView {
	views := []groupView{}
	for i := range b.Rows {
		g := &b.Rows[i]
		members := s.Groups[g.Group]
		first := &s.Signals[members[0]]
		view := groupView{Group: g.Group, Bus: first.Bus, Message: first.Message, Rows: len(g.Time), Time: g.Time}
		for c, m := range members {
			view.Signals = append(view.Signals, viewColumn(g, c, &s.Signals[m]))
		}
		views = append(views, view)
	}
	return views
}

func viewColumn(g *batches.GroupRows, c int, s *signal.Signal) columnView {
	view := columnView{Signal: s.Name, Unit: s.Unit, Raw: []int64{}, Value: []physical{}}
	for row, raw := range g.Columns[c] {
		if !g.Has(c, row) {
			continue
		}
		if g.Present != nil && g.Present[c] != nil {
			view.Row = append(view.Row, row)
		}
		view.Raw = append(view.Raw, raw)
		view.Value = append(view.Value, physical(s.Physical(raw)))
		if len(s.Values) > 0 {
			text, _ := s.Text(raw)
			view.Text = append(view.Text, text)
		}
	}
	return view
}
