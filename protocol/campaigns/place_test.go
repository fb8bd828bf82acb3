package campaigns_test

import (
	"errors"
	"testing"

	"telltale.dev/protocol/campaigns"
)

// TestPlace: an error about the content of a YAML document names the line of the field, or of
// the nearest one around it when the field is missing.
func TestPlace(t *testing.T) {
	const head = "apiVersion: campaigns.v1\nkind: Campaign\nmetadata:\n  id: x\n  revision: 1\n"
	for name, c := range map[string]struct{ doc, want string }{
		"tick": {
			head + "spec:\n  collect:\n    - id: a\n  encoding:\n    tick: 2us\n",
			"campaign: line 10: spec.encoding.tick: expected one of 1us, 10us, 100us, 1ms",
		},
		"rule of a list": {
			head + "spec:\n  collect:\n    - {id: a}\n    - {id: b,\n       every: often}\n",
			"campaign: line 10: spec.collect[1].every: expected whole milliseconds with their unit, 1ms to 24h, such as 500ms",
		},
		"alias with dots": {
			head + "spec:\n  signals:\n    a.b: {path: SPEED}\n  collect: [{id: a}]\n",
			"campaign: line 8: spec.signals.a.b.path: expected bus.message.signal",
		},
		"anchor": {
			head + "spec:\n  collect: [{id: a}]\n  encoding: {batch: &b {age: 1}}\n",
			"campaign: line 8: spec.encoding.batch.age: expected 100ms to 1h with the unit, such as 10s",
		},
		"missing": {head + "spec:\n  priority: CS1\n", "campaign: line 7: spec.collect: expected 1 to 32 rules"},
		"JSON":    {`{"apiVersion":"campaigns.v2"}`, "campaign: line 1: apiVersion: expected campaigns.v1"},
		"nothing": {"{}", "campaign: apiVersion: expected campaigns.v1"},
	} {
		if _, err := campaigns.Parse([]byte(c.doc)); !errors.Is(err, campaigns.ErrInvalid) || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// TestWhere: an error says line and column apart, for who shows them with the name of the file.
func TestWhere(t *testing.T) {
	const head = "apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: x, revision: 1}\n"
	for name, c := range map[string]struct {
		doc          string
		line, column int
		text         string
	}{
		"a field":          {head + "spec:\n  collect:\n    - {id: a, every: often}\n", 6, 22, "spec.collect[0].every: expected whole milliseconds with their unit, 1ms to 24h, such as 500ms"},
		"around a field":   {head + "spec:\n  priority: CS1\n", 5, 3, "spec.collect: expected 1 to 32 rules"},
		"no such field":    {head + "spec: {collect: [{id: a, everyy: 1s}]}\n", 4, 26, "field everyy is not known"},
		"another type":     {"apiVersion: campaigns.v1\nmetadata:\n  revision: often\n", 3, 13, "expected a whole number from 0"},
		"a type, long":     {"metadata:\n  revision: this text is longer than what is shown\n", 2, 13, "expected a whole number from 0"},
		"no whole number":  {"apiVersion: campaigns.v1\nmetadata: {id: x, revision: 24.7}\n", 2, 29, "metadata.revision: expected a whole number from 1, such as 24"},
		"no YAML":          {head + "spec:\n  - a: b: c\n", 5, 5, "mapping values are not allowed in this context"},
		"not in this form": {"\xA0", 0, 0, "apiVersion: expected campaigns.v1"},
		"nothing":          {"", 0, 0, "document: expected a campaign, found nothing"},
	} {
		_, err := campaigns.ParseChange([]byte(c.doc))
		if err == nil {
			t.Errorf("%s: got no error", name)
			continue
		}
		if line, column, text := campaigns.Place(err); line != c.line || column != c.column || text != c.text {
			t.Errorf("%s: got %d:%d %q, want %d:%d %q", name, line, column, text, c.line, c.column, c.text)
		}
	}
	const doc = head + "spec:\n  signals: {x: {path: A.B.C}}\n"
	for path, want := range map[string][2]int{"spec.signals.x.path": {5, 23}, "spec.signals.y": {5, 12}, "metadata.revision": {3, 29}, "SOME": {}} {
		if line, column := campaigns.Field([]byte(doc), path); line != want[0] || column != want[1] {
			t.Errorf("%s: got %d:%d, want %v", path, line, column, want)
		}
	}
}
