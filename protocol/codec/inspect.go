package codec

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/updates"
)

// What Inspect found.
const (
	FoundBatch     = "batch"
	FoundSchema    = "schema"
	FoundPresence  = "presence"
	FoundStatus    = "document status"
	FoundCampaigns = "campaign list"
	FoundCampaign  = "campaign"
	FoundUpdate    = "update"
	FoundFeedback  = "update feedback"
	FoundStorage   = "storage event"
	FoundCBOR      = "cbor"
)

// Inspect turns any payload of the wire into values for encoding/json, for a
// person to read, and says what it is. Compressed payloads are unpacked. A
// batch whose schema the given function does not know is shown without names
// and values. One newline at the end, as tools add it, is forgiven. The error
// wraps document.ErrMalformed, document.ErrLimit or ErrVersion.
func Inspect(data []byte, schema func(protocol.SchemaID) (*Schema, bool)) (any, string, error) {
	v, what, err := inspect(data, schema)
	if n := len(data) - 1; err != nil && n > 0 && data[n] == '\n' {
		if v, what, err := inspect(data[:n], schema); err == nil {
			return v, what, nil
		}
	}
	return v, what, err
}

func inspect(data []byte, schema func(protocol.SchemaID) (*Schema, bool)) (any, string, error) {
	plain, err := unpackBatch(data)
	if errors.Is(err, document.ErrLimit) {
		plain, err = Unpack(data, MaxSchemaSize)
	}
	if err != nil {
		return nil, "", err
	}
	if len(plain) == 0 {
		return nil, "", malformed("payload", "expected at least one byte")
	}
	switch {
	case plain[0]>>5 == majorMap:
		return inspectDocument(plain)
	case plain[0]>>5 == majorArray:
		v, err := inspectBatch(plain, schema)
		if err == nil {
			return v, FoundBatch, nil
		}
		if any, err := inspectAny(plain); err == nil && !looksLikeBatch(plain) {
			return any, FoundCBOR, nil
		}
		return nil, "", err
	}
	v, err := inspectAny(plain)
	if err == nil {
		return v, FoundCBOR, nil
	}
	if c, yamlErr := campaigns.ParseChange(plain); yamlErr == nil {
		return c, FoundCampaign, nil
	} else if printable(plain) {
		err = yamlErr
	}
	return nil, "", err
}

// looksLikeBatch says whether the array begins like a batch: with a small number and 8 bytes.
func looksLikeBatch(plain []byte) bool {
	r := reader{data: plain}
	_, err := r.array(math.MaxInt32, "an array")
	if err == nil {
		_, err = r.uint("a version")
	}
	return err == nil && r.exactly(make([]byte, 8), "a schema id") == nil
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
		return v, FoundCBOR, err
	}
	has := func(name string) bool { _, ok := fields[name]; return ok }
	switch {
	case has("signals") && has("groups"):
		s, err := ParseSchema(doc)
		if err != nil {
			return nil, "", err
		}
		return viewSchema(s), FoundSchema, nil
	case has("state") && has("conn"):
		v, err := typed[protocol.Presence](doc)
		return v, FoundPresence, err
	case has("doc") && has("results"):
		v, err := typed[document.Status](doc)
		return v, FoundStatus, err
	case has("campaigns") && has("rev"):
		v, err := typed[campaigns.Set](doc)
		return v, FoundCampaigns, err
	case has("file") && has("size"):
		v, err := typed[updates.Update](doc)
		return v, FoundUpdate, err
	case has("did") && has("running"):
		v, err := typed[updates.Feedback](doc)
		return v, FoundFeedback, err
	case has("did") && has("storage"):
		v, err := typed[events.Storage](doc)
		return v, FoundStorage, err
	case has("apiVersion") && has("spec"):
		c, err := campaigns.Parse(doc)
		return c, FoundCampaign, err
	}
	return plainValue(fields), FoundCBOR, nil
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

// The views are what Inspect shows of batches and schemas.
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
	codedView struct {
		Group   int      `json:"group"`
		Rows    uint64   `json:"rows"`
		Columns []string `json:"columns"` // the first is the time
	}
)

func inspectBatch(plain []byte, schema func(protocol.SchemaID) (*Schema, bool)) (any, error) {
	r := reader{data: plain}
	h, tail, err := r.header()
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	view := batchView{
		Schema: h.Schema.String(), Device: string(h.ID.Device), Boot: h.ID.Boot.String(), Seq: h.ID.Seq,
		Quality: h.TimeQuality.String(),
	}
	for _, e := range h.Evicted {
		view.Evicted = append(view.Evicted, rangeView{e.Boot.String(), e.From, e.To})
	}
	if s, ok := schema(h.Schema); ok {
		b, err := Decode(plain, s)
		if err != nil {
			return nil, err
		}
		view.Drops, view.Groups = b.Drops, viewGroups(b, s)
		view.Start = time.UnixMicro(b.T0).UTC().Format(time.RFC3339Nano)
		return view, nil
	}
	view.Note = "the schema is not known, so values and names are not shown"
	groups, err := r.coded()
	if err == nil && tail {
		err = r.tail(&h)
	}
	if err == nil && r.pos != len(r.data) {
		err = r.fail("no bytes left over")
	}
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	view.Drops, view.Groups = h.Drops, groups
	return view, nil
}

func viewGroups(b *Batch, s *Schema) []groupView {
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

func viewColumn(g *GroupRows, c int, s *Signal) columnView {
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

// coded lists the groups of a batch whose schema is not known.
func (r *reader) coded() ([]codedView, error) {
	if _, err := r.int("a start time"); err != nil {
		return nil, err
	}
	groups, err := r.array(MaxGroups, "groups")
	if err != nil {
		return nil, err
	}
	views := []codedView{}
	for range groups {
		view, err := r.codedGroup()
		if err != nil {
			return nil, err
		}
		views = append(views, view)
	}
	return views, nil
}

func (r *reader) codedGroup() (view codedView, err error) {
	elements, err := r.array(MaxColumns+3, "a group")
	if err != nil {
		return view, err
	}
	id, err := r.uint("a group number")
	if err != nil {
		return view, err
	}
	if view.Rows, err = r.uint("a number of rows"); err != nil {
		return view, err
	}
	if elements < 3 || id > MaxGroups {
		return view, r.fail("a group with a time")
	}
	view.Group = int(id)
	for range elements - 2 {
		text, err := r.codedColumn()
		if err != nil {
			return view, err
		}
		view.Columns = append(view.Columns, text)
	}
	return view, nil
}

func (r *reader) codedColumn() (string, error) {
	start := r.pos
	if err := r.skipColumn(); err != nil {
		return "", err
	}
	column := reader{data: r.data[start:r.pos]}
	switch major, null, _ := column.peek(); {
	case null:
		return "absent", nil
	case major == majorBytes:
		data, _ := column.bytes(majorBytes, "a column")
		if len(data) == 0 {
			return "", errors.New("column without a tag")
		}
		return fmt.Sprintf("coding 0x%02x, %d bytes", data[0], len(data)), nil
	}
	v, err := column.int("a constant")
	return fmt.Sprintf("constant %d", v), err
}
