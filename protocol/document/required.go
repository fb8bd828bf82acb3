package document

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// required is the option of a field's cbor tag that has a document refused when it lacks the
// field: `cbor:"inside,required"`. It is for fields whose zero value means something, such as
// "not inside" or "no campaign any more". It can be given only to fields that were always written:
// documents of earlier versions are read. Null counts as there for what Go writes so when it is
// nil, arrays and maps, and as missing for all else.
const required = "required"

// demands is what a struct type requires of its map.
type demands struct {
	required []string
	nested   map[string]reflect.Type // fields in which something is required
	nilable  map[string]bool
}

// demanded remembers the demands of types; a nil *demands is of a type without any.
var demanded sync.Map // reflect.Type → *demands

// demandsOf gives what a type requires; path is the types above it, so that one that holds itself ends.
func demandsOf(t reflect.Type, path []reflect.Type) *demands {
	if d, ok := demanded.Load(t); ok {
		return d.(*demands)
	}
	d := &demands{nested: map[string]reflect.Type{}, nilable: map[string]bool{}}
	d.collect(t, append(path, t))
	if len(d.required)+len(d.nested) == 0 {
		d = nil
	}
	if len(path) == 0 { // below another one it may be cut short
		demanded.Store(t, d)
	}
	return d
}

func (d *demands) collect(t reflect.Type, path []reflect.Type) {
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("cbor"), ",")
		inner := elementOf(field.Type)
		if name == "" && field.Anonymous && inner.Kind() == reflect.Struct { // its fields count as the struct's own
			if !slices.Contains(path, inner) {
				d.collect(inner, append(path, inner))
			}
			continue
		}
		if slices.Contains(strings.Split(options, ","), required) {
			d.required = append(d.required, name)
			d.nilable[name] = slices.Contains([]reflect.Kind{reflect.Slice, reflect.Map}, field.Type.Kind())
		}
		if inner.Kind() == reflect.Struct && (slices.Contains(path, inner) || demandsOf(inner, path) != nil) {
			d.nested[name] = field.Type
		}
	}
}

// elementOf is the type that a field holds one or many of.
func elementOf(t reflect.Type) reflect.Type {
	for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map}, t.Kind()) {
		t = t.Elem()
	}
	return t
}

// checkRequired says which field a document lacks that t requires. The document could be read into t.
func checkRequired(mode cbor.DecMode, data []byte, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return missing(mode, data, t, "")
}

func isNull(raw []byte) bool { return len(raw) == 0 || raw[0] == 0xf6 || raw[0] == 0xf7 }

// missing looks at one value of type t; where is the path of fields to it.
func missing(mode cbor.DecMode, data []byte, t reflect.Type, where string) error {
	if elementOf(t).Kind() != reflect.Struct || isNull(data) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return missing(mode, data, t.Elem(), where)
	case reflect.Slice, reflect.Array:
		var list []cbor.RawMessage
		err := mode.Unmarshal(data, &list)
		for i := 0; err == nil && i < len(list); i++ {
			err = missing(mode, list[i], t.Elem(), fmt.Sprintf("%s[%d]", where, i))
		}
		return err
	case reflect.Map: // keys are data, and may be private
		var values map[any]cbor.RawMessage
		err := mode.Unmarshal(data, &values)
		for _, value := range values {
			if err == nil {
				err = missing(mode, value, t.Elem(), where)
			}
		}
		return err
	}
	if d := demandsOf(t, nil); d != nil {
		return d.missing(mode, data, where)
	}
	return nil
}

// missing looks at the map of one struct.
func (d *demands) missing(mode cbor.DecMode, data []byte, where string) error {
	var fields map[string]cbor.RawMessage
	if err := mode.Unmarshal(data, &fields); err != nil {
		return err
	}
	for _, name := range d.required {
		if value, ok := fields[name]; !ok || isNull(value) && !d.nilable[name] {
			return fmt.Errorf("field %s is missing", strings.TrimPrefix(where+"."+name, "."))
		}
	}
	for name, inner := range d.nested {
		if value, ok := fields[name]; ok {
			if err := missing(mode, value, inner, strings.TrimPrefix(where+"."+name, ".")); err != nil {
				return err
			}
		}
	}
	return nil
}
