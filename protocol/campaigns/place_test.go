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
