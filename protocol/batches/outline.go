package batches

import (
	"errors"
	"fmt"
	"math"

	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/schemas"
)

// Outline is what a batch says to who has not its schema.
type Outline struct {
	Header
	Groups []GroupOutline
}

// GroupOutline is a group without names and values.
type GroupOutline struct {
	Group   int      `json:"group"`
	Rows    uint64   `json:"rows"`
	Columns []string `json:"columns"` // how each is coded; the first is the time
}

// ReadOutline reads an unpacked batch as far as that can be done without its schema.
func ReadOutline(plain []byte) (Outline, error) {
	r := newReader(plain)
	h, tail, err := r.header()
	if err != nil {
		return Outline{}, fmt.Errorf("batch: %w", err)
	}
	groups, err := r.coded()
	if err == nil && tail {
		err = r.tail(&h)
	}
	if err == nil && r.Pos != len(r.Data) {
		err = r.Fail("no bytes left over")
	}
	if err != nil {
		return Outline{}, fmt.Errorf("batch: %w", err)
	}
	return Outline{h, groups}, nil
}

// Begins says whether an array begins like a batch: with a small number and 8 bytes.
func Begins(plain []byte) bool {
	r := newReader(plain)
	_, err := r.Array(math.MaxInt32, "an array")
	if err == nil {
		_, err = r.Uint("a version")
	}
	return err == nil && r.Exactly(make([]byte, 8), "a schema id") == nil
}

// coded lists the groups of a batch whose schema is not known.
func (r *reader) coded() ([]GroupOutline, error) {
	if _, err := r.Int("a start time"); err != nil {
		return nil, err
	}
	groups, err := r.Array(schemas.MaxGroups, "groups")
	if err != nil {
		return nil, err
	}
	list := []GroupOutline{}
	for range groups {
		g, err := r.codedGroup()
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

func (r *reader) codedGroup() (g GroupOutline, err error) {
	elements, err := r.Array(schemas.MaxColumns+3, "a group")
	if err != nil {
		return g, err
	}
	id, err := r.Uint("a group number")
	if err != nil {
		return g, err
	}
	if g.Rows, err = r.Uint("a number of rows"); err != nil {
		return g, err
	}
	if elements < 3 || id > schemas.MaxGroups {
		return g, r.Fail("a group with a time")
	}
	g.Group = int(id)
	for range elements - 2 {
		text, err := r.codedColumn()
		if err != nil {
			return g, err
		}
		g.Columns = append(g.Columns, text)
	}
	return g, nil
}

func (r *reader) codedColumn() (string, error) {
	start := r.Pos
	if err := r.skipColumn(); err != nil {
		return "", err
	}
	column := newReader(r.Data[start:r.Pos])
	switch major, null, _ := column.Peek(); {
	case null:
		return "absent", nil
	case major == cbor.MajorBytes:
		data, _ := column.Bytes(cbor.MajorBytes, "a column")
		if len(data) == 0 {
			return "", errors.New("column without a tag")
		}
		return fmt.Sprintf("coding 0x%02x, %d bytes", data[0], len(data)), nil
	}
	v, err := column.Int("a constant")
	return fmt.Sprintf("constant %d", v), err
}
