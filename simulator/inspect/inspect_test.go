package inspect_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/updates"
	"telltale.dev/simulator/inspect"
)

const campaignYAML = `apiVersion: campaigns.v1
kind: Campaign
metadata: {id: tour, revision: 3}
spec: {collect: [{id: slow, every: 1s}]}
`

func TestInspect(t *testing.T) {
	payload, s := batchestest.Sample(t, protocol.ModeOnChange, 100)
	plain, err := compress.Unpack(payload, compress.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	doc, _, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	nan := batchestest.SchemaOf(protocol.ModeAll, 1)
	nan.Signals[0].IEEE = 64
	e := batches.NewEncoder(nan, protocol.SchemaID{})
	e.Add(0, 5000, []int64{int64(math.Float64bits(math.NaN()))})
	broken, err := e.Encode(batchestest.Header, nil)
	if err != nil {
		t.Fatal(err)
	}
	everything := campaigns.Everything()
	tests := []struct {
		name   string
		data   []byte
		schema *schemas.Schema
		what   string
		want   []string
	}{
		{"batch", payload, s, inspect.Batch, []string{`"device":"tcu-a"`, `"seq":7`, `"drops":1234`, `"from":3`, `"message":"SPEED"`, `"signal":"speed"`, `"value":[-3`, `"start":"2023-11-14T22:13:20Z"`}},
		{"uncompressed batch", plain, s, inspect.Batch, []string{`"value":[-3`}},
		{"batch and a newline", append(plain, '\n'), s, inspect.Batch, []string{`"value":[-3`}},
		{"batch of an unknown schema", payload, nil, inspect.Batch, []string{`"device":"tcu-a"`, `"drops":1234`, `schema is not known`, `"rows":100`, `"coding 0x`, `"absent"`}},
		{"no number", broken, nan, inspect.Batch, []string{`"value":[null]`}},
		{"schema", doc, nil, inspect.Schema, []string{`"mode":"onchange"`, `"scale":"0.1"`, `"extended":true`, `"-1":"on"`}},
		{"presence", documenttest.Marshal(t, protocol.Presence{Version: 1, State: protocol.PresenceLost, Device: "t3", Boot: protocol.BootID{0xAB}, Connection: 4}), nil, inspect.Presence,
			[]string{`"state":"lost"`, `"boot":"ab00000000000000"`, `"conn":4`}},
		{"status", documenttest.Marshal(t, document.Status{Version: 1, Document: "campaigns", Results: []document.Result{{ID: "x", Revision: 2, State: document.Rejected, Reason: reasons.UnknownSignal}}}), nil, inspect.Status,
			[]string{`"document":"campaigns"`, `"state":"REJECTED"`, `"reason":"UNKNOWN_SIGNAL"`}},
		{"campaign list", documenttest.Marshal(t, campaigns.Set{Version: 1, Revision: 8, Campaigns: []campaigns.Campaign{everything}}), nil, inspect.Campaigns, []string{`"revision":8`, `"id":"everything"`}},
		{"campaign in CBOR", documenttest.Marshal(t, everything), nil, inspect.Campaign, []string{`"id":"everything"`}},
		{"campaign in YAML", []byte(campaignYAML), nil, inspect.Campaign, []string{`"every":"1s"`}},
		{"update", documenttest.Marshal(t, updates.Update{Version: 1, Revision: 3, ID: "u1", Device: "tcu", File: updates.FileHash{0xAB}, Size: 10}), nil, inspect.Update, []string{`"id":"u1"`, `"file":"ab00`, `"revision":3`}},
		{"update feedback", documenttest.Marshal(t, updates.Feedback{Version: 1, Device: "tcu", Update: "u1", State: updates.Rebooting, Sequence: 4, Running: updates.Running{Version: "2.0", Slot: "B", Trial: true}}), nil, inspect.Feedback,
			[]string{`"state":"REBOOTING"`, `"slot":"B"`, `"trial":true`}},
		{"storage event", documenttest.Marshal(t, events.Storage{Version: 1, Device: "tcu", State: events.StorageMemoryOnly, Loss: "ab", Reason: "no such partition"}), nil, inspect.Storage,
			[]string{`"storage":"memory-only"`, `"loss":"ab"`, `"reason":"no such partition"`}},
		{"any map", []byte{0xA2, 0x20, 0x41, 0xFF, 0x61, 'a', 0x82, 0xF5, 0xF6}, nil, inspect.CBOR, []string{`"-1":"ff"`, `"a":[true,null]`}},
		{"any array", []byte{0x82, 0x01, 0x61, 'x'}, nil, inspect.CBOR, []string{`[1,"x"]`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v, what, err := inspect.Payload(test.data, func(protocol.SchemaID) (*schemas.Schema, bool) { return test.schema, test.schema != nil })
			if err != nil || what != test.what {
				t.Fatalf("got %q, error %v; want %q", what, err, test.what)
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(text), want) {
					t.Errorf("got %s, want it to contain %s", text, want)
				}
			}
		})
	}
}

func TestInspectRefuses(t *testing.T) {
	unknown := func(protocol.SchemaID) (*schemas.Schema, bool) { return nil, false }
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "at least one byte"},
		"a broken batch":   {brokenBatch(t), "batch"},
		"YAML gone wrong":  {[]byte("kind: Campaign\nmetadate: {}\n"), "line 2: field metadate is not known"},
		"bytes left over":  {[]byte{0xA0, 0x01}, "left over"},
		"a broken schema":  {documenttest.Marshal(t, map[string]any{"signals": 1, "groups": 2}), "schema"},
		"a broken zstd":    {[]byte("\x28\xB5\x2F\xFDxxxxxxxxxxx"), "zstd"},
		"a presence of 40": {documenttest.Marshal(t, map[string]any{"state": 40, "conn": 1}), "field state"},
	} {
		t.Run(name, func(t *testing.T) {
			v, _, err := inspect.Payload(test.data, unknown)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, error %v; want an error with %q", v, err, test.want)
			}
		})
	}
}
