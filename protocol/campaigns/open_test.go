package campaigns_test

import (
	"errors"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
)

// later is a presence with what a later version may add.
func later(fields map[string]any) map[string]any {
	m := map[string]any{"v": 1, "state": "online", "did": "tcu", "boot": []byte("12345678"), "conn": 7, "at": 0, "agent": "x"}
	for key, value := range fields {
		m[key] = value
	}
	return m
}

// TestUnknownFieldsArePassedOver unless the document says that they must be understood;
// what is known stays strict.
func TestUnknownFieldsArePassedOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields map[string]any
		want   error
	}{
		{"nothing new", nil, nil},
		{"a field", map[string]any{"counter": 4}, nil},
		{"a field of fields", map[string]any{"counter": map[string]any{"a": []any{1, "x"}}}, nil},
		{"an empty must", map[string]any{"must": []string{}}, nil},
		{"must be understood, and is", map[string]any{"must": []string{"state", "wakes"}}, nil},
		{"must be understood, and is not", map[string]any{"counter": 4, "must": []string{"state", "counter"}}, document.ErrNotSupported},
		{"must be understood, and is not there", map[string]any{"must": []string{"counter"}}, document.ErrNotSupported},
		{"a field of what has none", map[string]any{"must": []string{"state.of"}}, document.ErrNotSupported},
		{"an empty name", map[string]any{"must": []string{""}}, document.ErrNotSupported},
		{"must is no list", map[string]any{"must": "counter"}, document.ErrMalformed},
		{"must lists numbers", map[string]any{"must": []int{1}}, document.ErrMalformed},
		{"must lists too many", map[string]any{"must": make([]string, document.MaxMust+1)}, document.ErrLimit},
		{"a known field of another type", map[string]any{"conn": "seven"}, document.ErrMalformed},
		{"a known field out of range", map[string]any{"conn": -1}, document.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p protocol.Presence
			err := document.UnmarshalOpen(documenttest.Marshal(t, later(c.fields)), &p)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (p.Connection != 7 || p.State != protocol.PresenceOnline || p.Device != "tcu") {
				t.Errorf("got %+v", p)
			}
		})
	}
	var nameless struct {
		Must     []string `cbor:"must"`
		Hidden   int      `cbor:"-"`
		Untagged int
	}
	for _, name := range []string{"", "-"} {
		data := documenttest.Marshal(t, map[string]any{"must": []string{name}})
		if err := document.UnmarshalOpen(data, &nameless); !errors.Is(err, document.ErrNotSupported) {
			t.Errorf("the name %q, which no field has: got %v, want not supported", name, err)
		}
	}
	twice := []byte("\xa2\x61v\x01\x61v\x01")
	if err := document.UnmarshalOpen(twice, new(protocol.Presence)); !errors.Is(err, document.ErrMalformed) {
		t.Errorf("a field twice: got %v, want malformed", err)
	}
	unknownTwice := []byte("\xa3\x61v\x01\x61x\x01\x61x\x02")
	if err := document.UnmarshalOpen(unknownTwice, new(protocol.Presence)); !errors.Is(err, document.ErrMalformed) {
		t.Errorf("an unknown field twice: got %v, want malformed", err)
	}
	if err := document.UnmarshalOpen(append(documenttest.Marshal(t, later(nil)), 0), new(protocol.Presence)); !errors.Is(err, document.ErrMalformed) {
		t.Errorf("bytes left over: got %v, want malformed", err)
	}
}

// TestCampaignsOfASetAreReadAlone: one that cannot be read is no fault of the others.
func TestCampaignsOfASetAreReadAlone(t *testing.T) {
	member := func(id string, extra map[string]any) map[string]any {
		m := map[string]any{
			"apiVersion": "campaigns.v1", "kind": "Campaign", "metadata": map[string]any{"id": id, "revision": 3, "owner": "later"},
			"spec": map[string]any{"collect": []any{map[string]any{"id": "all", "when": "speed > 3"}}, "budget": 5},
		}
		for key, value := range extra {
			m[key] = value
		}
		return m
	}
	set, members, err := campaigns.ParseSet(documenttest.Marshal(t, map[string]any{"v": 1, "rev": 9, "later": true, "campaigns": []any{
		member("plain", nil),
		member("demanding", map[string]any{"must": []string{"spec.collect.when"}}),
		member("content", map[string]any{"must": []string{"spec.collect.every", "metadata.revision", "spec.signals.any.path"}}),
		member("broken", map[string]any{"spec": 7}),
		map[string]any{"metadata": 7},
		"no campaign",
	}}))
	if err != nil || set.Version != 1 || set.Revision != 9 || len(set.Campaigns) != 0 {
		t.Fatalf("got %+v, %v", set, err)
	}
	for i, want := range []struct {
		id       protocol.CampaignID
		revision uint64
		err      error
	}{
		{"plain", 3, nil}, {"demanding", 3, document.ErrNotSupported}, {"content", 3, nil}, {"broken", 3, document.ErrMalformed},
		{"", 0, document.ErrMalformed}, {"", 0, document.ErrMalformed},
	} {
		m := members[i]
		if !errors.Is(m.Err, want.err) || want.err == nil && m.Err != nil || m.Campaign.Metadata.ID != want.id || m.Campaign.Metadata.Revision != want.revision {
			t.Errorf("%d: got %+v, want %+v", i, m, want)
		}
		if m.Err == nil && m.Campaign.Validate() != nil {
			t.Errorf("%d: got %v", i, m.Campaign.Validate())
		}
	}
	if _, _, err := campaigns.ParseSet(documenttest.Marshal(t, map[string]any{"v": 1, "rev": 9, "must": []string{"rollout"}})); !errors.Is(err, document.ErrNotSupported) {
		t.Errorf("got %v, want not supported", err)
	}
}

// FuzzUnmarshalOpen: what the strict reader takes the open one takes, too, and reads the same.
func FuzzUnmarshalOpen(f *testing.F) {
	for _, fields := range []map[string]any{nil, {"counter": 4}, {"must": []string{"state"}}, {"must": []string{"x"}}, {"must": 1}} {
		f.Add(documenttest.Marshal(f, later(fields)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, open protocol.Presence
		strictErr, openErr := document.Unmarshal(data, &strict), document.UnmarshalOpen(data, &open)
		if strictErr == nil && (openErr != nil || open != strict) {
			t.Errorf("got %+v, %v, want %+v", open, openErr, strict)
		}
		_, _, _ = campaigns.ParseSet(data)
	})
}
