package document_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
)

type leaf struct {
	Inside bool  `cbor:"inside,required"`
	Words  []int `cbor:"words,required"`
	Note   *bool `cbor:"note,omitempty"`
}

type base struct {
	Version int `cbor:"v,required"`
}

type tree struct {
	base
	Zone  string          `cbor:"zone"`
	One   leaf            `cbor:"one"`
	Many  []leaf          `cbor:"many,omitempty"`
	Named map[string]leaf `cbor:"named,omitempty"`
	Maybe *leaf           `cbor:"maybe,omitempty"`
	Trees []tree          `cbor:"trees,omitempty"`
}

// TestRequired: a document without a field that it must have is refused, and the error names the field.
func TestRequired(t *testing.T) {
	type m = map[string]any
	whole := m{"inside": false, "words": nil}
	bare := m{"words": []int{}}
	for name, c := range map[string]struct {
		doc  m
		want string // empty: it is read
	}{
		"all there":           {m{"v": 1, "one": whole}, ""},
		"only optional gone":  {m{"v": 1}, ""},
		"of the struct in it": {m{"zone": "a"}, "field v is missing"},
		"null":                {m{"v": nil}, "field v is missing"},
		"one level down":      {m{"v": 1, "one": bare}, "field one.inside is missing"},
		"null one level down": {m{"v": 1, "one": m{"inside": nil, "words": nil}}, "field one.inside is missing"},
		"array missing":       {m{"v": 1, "one": m{"inside": true}}, "field one.words is missing"},
		"in a list":           {m{"v": 1, "many": []m{whole, bare}}, "field many[1].inside is missing"},
		"in a map":            {m{"v": 1, "named": m{"k": bare}}, "field named.inside is missing"},
		"behind a pointer":    {m{"v": 1, "maybe": bare}, "field maybe.inside is missing"},
		"no pointer":          {m{"v": 1, "maybe": nil}, ""},
		"in itself":           {m{"v": 1, "trees": []m{{"v": 1, "trees": []m{{"one": whole}}}}}, "field trees[0].trees[0].v is missing"},
	} {
		data := documenttest.Marshal(t, c.doc)
		for how, read := range map[string]func([]byte, any) error{"strictly": document.Unmarshal, "openly": document.UnmarshalOpen} {
			err := read(data, &tree{})
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, document.ErrMalformed) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %s: got %v, want %q", name, how, err, c.want)
			}
		}
	}
	// What is written can be read, also the zero value.
	if err := document.Unmarshal(documenttest.Marshal(t, tree{}), &tree{}); err != nil {
		t.Error(err)
	}
}
