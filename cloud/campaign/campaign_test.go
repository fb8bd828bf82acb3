package campaign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/campaign"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

// memory is a Store.
type memory struct {
	mu      sync.Mutex // guards entries
	entries map[string][]byte
	fail    error
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.entries == nil {
		m.entries = map[string][]byte{}
	}
	m.entries[key] = value
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		delete(m.entries, key)
	}
	return m.fail
}

func (m *memory) List(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.entries), nil
}

// stage is a Campaigns with two vehicles and what it delivered.
type stage struct {
	*campaign.Campaigns
	t         *testing.T
	store     *memory
	now       time.Time
	vehicles  []protocol.VehicleID
	delivered []campaign.Message
	log       bytes.Buffer
}

func start(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, store: &memory{}, now: time.Unix(1_800_000_000, 0), vehicles: []protocol.VehicleID{"anna", "bert"}}
	s.open()
	return s
}

// open starts anew on the same store.
func (s *stage) open() {
	s.t.Helper()
	s.delivered = nil
	var err error
	s.Campaigns, err = campaign.Open(s.t.Context(), campaign.Config{
		Store: s.store, Now: func() time.Time { return s.now }, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
		Vehicles: func() []protocol.VehicleID { return s.vehicles },
		Deliver:  func(m campaign.Message) { s.delivered = append(s.delivered, m) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) push(id, doc string) {
	s.t.Helper()
	if _, err := s.Push(s.t.Context(), id, []byte(doc), nil); err != nil {
		s.t.Fatal(err)
	}
}

// result gives the newest result of a campaign, which must also be what is kept for who comes later.
func (s *stage) result(id string) campaign.Result {
	s.t.Helper()
	topic := "v1/ops/config/campaign/" + id + "/result"
	var newest, kept string
	for _, m := range s.delivered {
		if m.Topic.String() == topic && m.Kept {
			newest = string(m.Payload)
		}
	}
	for _, m := range s.Results() {
		if m.Topic.String() == topic {
			kept = string(m.Payload)
		}
	}
	var r campaign.Result
	if kept != "" {
		if err := json.Unmarshal([]byte(kept), &r); err != nil {
			s.t.Fatal(err)
		}
	}
	if newest != "" {
		var told campaign.Result
		if err := json.Unmarshal([]byte(newest), &told); err != nil {
			s.t.Fatal(err)
		}
		told.Refused = r.Refused // which is noted without telling the rest again
		if text, _ := json.Marshal(told); string(text) != kept {
			s.t.Errorf("got %s kept, want %s", kept, text)
		}
	}
	return r
}

// answer gives the newest result on a campaign's topic, kept or not.
func (s *stage) answer(id string) (r campaign.Result) {
	s.t.Helper()
	for _, m := range s.delivered {
		if m.Topic.Kind == topics.OpsResult && m.Topic.ID == id {
			r = campaign.Result{}
			if err := json.Unmarshal(m.Payload, &r); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return r
}

// document gives the set that a vehicle gets.
func (s *stage) document(vid protocol.VehicleID) campaigns.Set {
	s.t.Helper()
	m, ok := s.Document(vid)
	if !ok {
		s.t.Fatal("got no document")
	}
	if want := "v1/" + string(vid) + "/down/config/campaigns"; m.Topic.String() != want {
		s.t.Errorf("got %s, want %s", m.Topic, want)
	}
	var set campaigns.Set
	if err := document.Unmarshal(m.Payload, &set); err != nil {
		s.t.Fatal(err)
	}
	return set
}

func (s *stage) report(vid protocol.VehicleID, results ...document.Result) {
	s.Report(vid, document.Status{Version: 1, Document: campaigns.Document, Device: "tcu", Results: results})
}

// removal writes the document that takes a campaign back.
func removal(id string, revision int) string {
	return fmt.Sprintf("apiVersion: campaigns.v1\nkind: Removal\nmetadata: {id: %s, revision: %d}\n", id, revision)
}

// doc writes a campaign document.
func doc(id string, revision int, more string) string {
	return fmt.Sprintf("apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: %s, revision: %d}\nspec:\n  collect: [{id: all}]\n%s", id, revision, more)
}

func TestPush(t *testing.T) {
	s := start(t)
	if _, ok := s.Document("anna"); ok {
		t.Error("got a document before there was a campaign")
	}
	s.push("c", doc("c", 3, ""))
	if r := s.result("c"); r.State != document.Pending || r.Revision != 3 || r.Reason != "" {
		t.Errorf("got %+v, want PENDING", r)
	}
	got := map[string]bool{}
	for _, m := range s.delivered {
		got[m.Topic.String()] = true
	}
	if !got["v1/anna/down/config/campaigns"] || !got["v1/bert/down/config/campaigns"] || len(got) != 3 {
		t.Errorf("got %v, want a document for each vehicle and a result", got)
	}
	first := s.document("anna")
	s.push("d", doc("d", 1, ""))
	s.push("c", doc("c", 4, "  priority: CS4\n"))
	second := s.document("carl") // registered later: the same
	if len(second.Campaigns) != 2 || second.Revision <= first.Revision || second.Version != 1 {
		t.Errorf("got %+v after %+v, want both campaigns and a higher revision", second, first)
	}
	list := s.List()
	if len(list) != 2 || list[0].Metadata.ID != "c" || list[0].Metadata.Revision != 4 || list[1].Metadata.ID != "d" {
		t.Errorf("got %+v, want c and d", list)
	}
}

func TestBadPush(t *testing.T) {
	for _, c := range []struct {
		name, id, doc string
		reason        reasons.Reason
		detail        string
		revision      uint64
	}{
		{"no campaign", "c", "hello", reasons.ValidationFailed, "line 1", 0},
		{"unknown field", "c", doc("c", 9, "  colour: red\n"), reasons.ValidationFailed, "colour", 9},
		{"invalid field", "c", doc("c", 9, "  priority: high\n"), reasons.ValidationFailed, "spec.priority", 9},
		{"other id", "c", doc("d", 9, ""), reasons.ValidationFailed, "metadata.id", 9},
		{"topic that is no id", "a.b", doc("a", 1, ""), reasons.ValidationFailed, "metadata.id", 1},
		{"too large", "c", doc("c", 9, strings.Repeat("#", document.MaxInline)), reasons.TooLarge, "8192", 9},
		{"revision back", "c", doc("c", 4, ""), reasons.StaleRevision, "more than 5, the newest one accepted: 5 PENDING", 4},
		{"same revision, other content", "c", doc("c", 5, "  priority: CS3\n"), reasons.StaleRevision, "more than 5", 5},
		{"empty", "c", "", reasons.ValidationFailed, "kind: Removal", 0},
		{"removal back", "c", removal("c", 5), reasons.StaleRevision, "more than 5", 5},
		{"removal with a spec", "c", removal("c", 6) + "spec: {collect: [{id: all}]}\n", reasons.ValidationFailed, "spec", 6},
		{"fraction", "c", strings.Replace(doc("c", 6, ""), "revision: 6", "revision: 6.5", 1), reasons.ValidationFailed, "metadata.revision", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			s.push("c", doc("c", 5, ""))
			before := s.document("anna")
			s.push(c.id, c.doc)
			r := s.answer(c.id)
			if r.Revision != c.revision || strings.HasSuffix(r.Detail, campaigns.ErrInvalid.Error()) || strings.HasSuffix(r.Detail, document.ErrMalformed.Error()) {
				t.Errorf("got %+v, want revision %d and a detail without noise", r, c.revision)
			}
			if kept := s.result("c"); kept.Revision != 5 || kept.State != document.Pending || c.id == "c" && (kept.Refused == nil || kept.Refused.Reason != c.reason) {
				t.Errorf("got %+v for who comes later, want revision 5 with the refusal noted", kept)
			}
			if r.State != document.Rejected || r.Reason != c.reason || !strings.Contains(r.Detail, c.detail) {
				t.Errorf("got %+v, want %s with %q", r, c.reason, c.detail)
			}
			if after := s.document("anna"); after.Revision != before.Revision {
				t.Errorf("got revision %d, want the set untouched at %d", after.Revision, before.Revision)
			}
			// A vehicle's word on what is in force is heard all the same.
			s.report("anna", document.Result{ID: "c", Revision: 5, State: document.Active})
			if r := s.result("c"); r.State != document.Active || r.Revision != 5 {
				t.Errorf("got %+v, want revision 5 ACTIVE", r)
			}
		})
	}
}

func TestPushAgain(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.report("anna", document.Result{ID: "c", Revision: 1, State: document.Active})
	before := s.document("anna").Revision
	s.delivered = nil
	s.push("c", "# written differently\n"+doc("c", 1, ""))
	if r := s.result("c"); r.State != document.Active || len(s.delivered) != 1 {
		t.Errorf("got %+v and %d messages, want the result once more", r, len(s.delivered))
	}
	if got := s.document("anna").Revision; got != before {
		t.Errorf("got revision %d, want %d", got, before)
	}
}

func TestRemove(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 7, ""))
	s.push("c", removal("c", 8))
	if r := s.result("c"); r.State != document.Removed || r.Revision != 8 {
		t.Errorf("got %+v, want revision 8 REMOVED", r)
	}
	if set := s.document("anna"); len(set.Campaigns) != 0 {
		t.Errorf("got %+v, want an empty set for vehicles that had one", set)
	}
	s.push("nobody", removal("nobody", 1))
	if r := s.result("nobody"); r.State != document.Removed {
		t.Errorf("got %+v, want REMOVED", r)
	}
	s.push("c", doc("c", 1, "")) // a new life begins at any revision
	if r := s.result("c"); r.State != document.Pending || r.Revision != 1 {
		t.Errorf("got %+v, want revision 1 PENDING", r)
	}
}

// TestRevisionOfSet: it rises with each change, also when the cloud's data was lost.
func TestRevisionOfSet(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	first := s.document("anna").Revision
	s.push("c", doc("c", 2, ""))
	second := s.document("anna").Revision
	s.store, s.now = &memory{}, s.now.Add(time.Hour)
	s.open()
	s.push("c", doc("c", 1, ""))
	if third := s.document("anna").Revision; second <= first || third <= second {
		t.Errorf("got %d, %d, %d, want them to rise", first, second, third)
	}
}

func TestStoreRefuses(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.delivered, s.store.fail = nil, errors.New("disk full")
	if _, err := s.Push(t.Context(), "c", []byte(doc("c", 2, "")), nil); !errors.Is(err, s.store.fail) {
		t.Errorf("got %v, want %v", err, s.store.fail)
	}
	if got := s.List()[0].Metadata.Revision; got != 1 || len(s.delivered) != 0 {
		t.Errorf("got revision %d and %d messages, want nothing changed", got, len(s.delivered))
	}
	s.report("anna", document.Result{ID: "c", Revision: 1, State: document.Active})
	if err := s.Save(t.Context()); !errors.Is(err, s.store.fail) {
		t.Errorf("got %v, want %v", err, s.store.fail)
	}
	s.store.fail = nil
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.open()
	if r := s.result("c"); r.State != document.Active {
		t.Errorf("got %+v, want what a failed Save left to the next one", r)
	}
}

// TestSetFitsAPacket: campaigns are taken until the document of all of them would be too large for a vehicle.
func TestSetFitsAPacket(t *testing.T) {
	s := start(t)
	aliases := "  signals:\n"
	for i := range 100 {
		aliases += fmt.Sprintf("    a%02d: {path: can0.%s.x}\n", i, strings.Repeat("m", 50))
	}
	taken := 0
	for i := range 60 {
		id := fmt.Sprint("c", i)
		s.push(id, doc(id, 1, aliases))
		switch r := s.answer(id); r.State {
		case document.Pending:
			taken++
		case document.Rejected:
			if r.Reason != reasons.TooLarge {
				t.Errorf("got %+v, want %s", r, reasons.TooLarge)
			}
		}
	}
	m, _ := s.Document("anna")
	if len(m.Payload) > campaign.MaxSet || len(m.Payload) < campaign.MaxSet-8<<10 || taken < 28 {
		t.Errorf("got %d campaigns in %d bytes, want nearly %d", taken, len(m.Payload), campaign.MaxSet)
	}
	s.push("c0", removal("c0", 2))
	s.push("c59", doc("c59", 1, aliases))
	if r := s.result("c59"); r.State != document.Pending {
		t.Errorf("got %+v, want room after one was removed", r)
	}
}

func TestOpenRefuses(t *testing.T) {
	store := &memory{entries: map[string][]byte{"set": []byte("?"), "answers/anna": []byte("?")}}
	if _, err := campaign.Open(t.Context(), campaign.Config{Store: store}); err == nil {
		t.Error("got no error for an unreadable set")
	}
	delete(store.entries, "set")
	if _, err := campaign.Open(t.Context(), campaign.Config{Store: store}); err != nil {
		t.Errorf("got %v, want unreadable answers passed over", err)
	}
}

// TestSetHasFewMembers: no more campaigns are taken than vehicles take in one document.
func TestSetHasFewMembers(t *testing.T) {
	s := start(t)
	for i := range campaigns.MaxMembers {
		id := fmt.Sprint("c", i)
		s.push(id, doc(id, 1, ""))
	}
	s.push("more", doc("more", 1, ""))
	if r := s.answer("more"); r.State != document.Rejected || r.Reason != reasons.TooLarge {
		t.Errorf("got %+v, want one too many rejected", r)
	}
	s.push("c0", removal("c0", 2))
	s.push("more", doc("more", 1, ""))
	if r := s.result("more"); r.State != document.Pending {
		t.Errorf("got %+v, want room after one was removed", r)
	}
}
