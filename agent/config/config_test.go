package config_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/config"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

var errUnknown = errors.New("unknown signal")

// engine is a Campaigns that knows no signals of bus "can9".
type engine struct {
	mu      sync.Mutex // guards inForce
	inForce []string   // id@revision
	refuse  error      // of Prepare
	detail  string     // of what Check refuses
}

// running gives what is in force.
func (e *engine) running() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inForce
}

func (e *engine) Check(c *campaigns.Campaign) error {
	for _, s := range c.Spec.Signals {
		if strings.HasPrefix(s.Path, "can9.") {
			return fmt.Errorf("spec.signals: %w%s", errUnknown, e.detail)
		}
	}
	return nil
}

func (e *engine) Prepare(set []campaigns.Campaign) (func(), error) {
	if e.refuse != nil {
		return nil, e.refuse
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.inForce = nil
		for _, c := range set {
			e.inForce = append(e.inForce, fmt.Sprintf("%s@%d", c.Metadata.ID, c.Metadata.Revision))
		}
	}, nil
}

// reports keeps the statuses. Late answers come from a goroutine of their own.
type reports struct {
	mu   sync.Mutex // guards got
	got  []document.Status
	fail error
}

func (r *reports) Put(t topics.Topic, content any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	s, ok := content.(document.Status)
	if want := (topics.Topic{Kind: topics.ConfigStatus, Name: campaigns.Document}); !ok || t != want {
		return fmt.Errorf("document %+v on topic %+v", content, t)
	}
	r.got = append(r.got, s)
	return nil
}

// refuse lets reports fail, or be taken again (nil).
func (r *reports) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// take gives the reports so far, each result as "id@revision state reason".
func (r *reports) take() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.got {
		for _, d := range s.Results {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s@%d %s %s", d.ID, d.Revision, d.State, d.Reason)))
		}
	}
	r.got = nil
	return list
}

func campaign(id string, revision uint64, path string) campaigns.Campaign {
	c := campaigns.Everything()
	c.Metadata.ID, c.Metadata.Revision = protocol.CampaignID(id), revision
	if path != "" {
		c.Spec.Signals = map[string]campaigns.SignalSelector{"s": {Path: path}}
	}
	return c
}

func setDocument(t *testing.T, revision uint64, list ...campaigns.Campaign) []byte {
	t.Helper()
	doc, err := document.Marshal(campaigns.Set{Version: 1, Revision: revision, Campaigns: list})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func open(t *testing.T, dir string, e *engine, r *reports) *config.Keeper {
	t.Helper()
	k, err := config.Open(config.Config{
		Dir: dir, Device: "tcu", Default: []campaigns.Campaign{campaign("default", 1, "")},
		Campaigns: e, Outbox: r, UnknownSignal: errUnknown, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// take gives a document to k, for one try.
func take(t *testing.T, k *config.Keeper, doc []byte) {
	t.Helper()
	once, cancel := context.WithCancel(t.Context())
	cancel()
	k.Take(once, doc)
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// TestDocuments plays documents on one vehicle, restarts included.
func TestDocuments(t *testing.T) {
	bad := campaign("b", 1, "")
	bad.Spec.Collect[0].Every = "1 fortnight"
	steps := []struct {
		name    string
		doc     []byte
		refuse  error
		restart bool
		inForce []string
		reports []string
	}{
		{name: "nothing yet", inForce: []string{"default@1"}},
		{name: "one", doc: setDocument(t, 3, campaign("a", 1, "")), inForce: []string{"a@1"}, reports: []string{"a@1 ACTIVE"}},
		{name: "the same again, as after a reconnect", doc: setDocument(t, 3, campaign("a", 1, "")), inForce: []string{"a@1"}},
		{name: "after a restart", restart: true, inForce: []string{"a@1"}},
		{name: "the same after a restart", doc: setDocument(t, 3, campaign("a", 1, "")), inForce: []string{"a@1"}, reports: []string{"a@1 ACTIVE"}},
		{name: "no document at all", doc: []byte("\xff\x00"), inForce: []string{"a@1"}, reports: []string{"@0 REJECTED UNDECODABLE", "a@1 ACTIVE"}},
		{name: "of the future", doc: mustMarshal(campaigns.Set{Version: 2, Revision: 9}), inForce: []string{"a@1"}, reports: []string{"@9 REJECTED NOT_SUPPORTED", "a@1 ACTIVE"}},
		{name: "back in time", doc: setDocument(t, 2), inForce: []string{"a@1"}, reports: []string{"@2 REJECTED STALE_REVISION", "a@1 ACTIVE"}},
		{name: "one good, one bad", doc: setDocument(t, 4, campaign("a", 2, ""), bad), inForce: []string{"a@2"},
			reports: []string{"a@2 ACTIVE", "b@1 REJECTED VALIDATION_FAILED"}},
		{name: "a bad revision does not end the good one", doc: setDocument(t, 5, campaign("a", 3, "can9.M.S"), campaign("c", 1, "")),
			inForce: []string{"a@2", "c@1"}, reports: []string{"a@3 REJECTED UNKNOWN_SIGNAL", "c@1 ACTIVE", "a@2 ACTIVE"}},
		{name: "nothing good", doc: setDocument(t, 6, bad), inForce: []string{"a@2", "c@1"},
			reports: []string{"b@1 REJECTED VALIDATION_FAILED", "a@2 ACTIVE", "c@1 ACTIVE"}},
		{name: "twice", doc: setDocument(t, 6, campaign("a", 4, ""), campaign("a", 5, "")), inForce: []string{"a@4"},
			reports: []string{"a@4 ACTIVE", "a@5 REJECTED VALIDATION_FAILED"}},
		{name: "the vehicle cannot", doc: setDocument(t, 7, campaign("d", 1, "")), refuse: errors.New("disk"), inForce: []string{"a@4"},
			reports: []string{"d@1 REJECTED INTERNAL_ERROR", "a@4 ACTIVE"}},
		{name: "too many together", doc: setDocument(t, 7, campaign("d", 1, "")), refuse: campaigns.ErrInvalid, inForce: []string{"a@4"},
			reports: []string{"d@1 REJECTED VALIDATION_FAILED", "a@4 ACTIVE"}},
		{name: "none of that was kept", restart: true, inForce: []string{"a@4"}},
		{name: "the vehicle can again", doc: setDocument(t, 7, campaign("d", 1, "")), inForce: []string{"d@1"}, reports: []string{"d@1 ACTIVE"}},
		{name: "no bytes at all, as a client may send by mistake", doc: []byte{}, inForce: []string{"d@1"}, reports: []string{"@0 REJECTED UNDECODABLE", "d@1 ACTIVE"}},
		{name: "of a later version", doc: laterSet(8, nil), inForce: []string{"d@1", "e@1"}, reports: []string{"d@1 ACTIVE", "e@1 ACTIVE"}},
		{name: "of a later version, one alone must be understood", doc: laterSet(8, []string{"spec.when"}), inForce: []string{"d@1", "e@1"},
			reports: []string{"d@1 ACTIVE", "e@1 REJECTED NOT_SUPPORTED", "e@1 ACTIVE"}},
		{name: "empty", doc: setDocument(t, 8), inForce: []string{"default@1"}},
	}
	dir := t.TempDir()
	e, r := &engine{}, &reports{}
	k := open(t, dir, e, r)
	for _, s := range steps {
		if s.restart {
			e.inForce = nil
			k = open(t, dir, e, r)
		}
		e.refuse = s.refuse
		if s.doc != nil {
			take(t, k, s.doc)
		}
		e.refuse = nil
		equal(t, s.name+": in force", e.running(), s.inForce)
		equal(t, s.name+": reported", r.take(), s.reports)
	}
}

// laterSet is a set with fields that this version does not know; must is of its second campaign.
func laterSet(revision uint64, must []string) []byte {
	member := func(id string, must []string) map[string]any {
		m := map[string]any{
			"apiVersion": "campaigns.v1", "kind": "Campaign", "metadata": map[string]any{"id": id, "revision": 1, "owner": "x"},
			"spec": map[string]any{"collect": []any{map[string]any{"id": "all"}}, "when": "later"},
		}
		if must != nil {
			m["must"] = must
		}
		return m
	}
	return mustMarshal(map[string]any{"v": 1, "rev": revision, "later": true, "campaigns": []any{member("d", nil), member("e", must)}})
}

func mustMarshal(v any) []byte {
	data, err := document.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// pass lets time pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestUnreported: what could not be reported is reported when the disk takes it.
func TestUnreported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, r := &engine{}, &reports{}
		r.refuse(errors.New("disk"))
		k := open(t, t.TempDir(), e, r)
		go k.Take(t.Context(), setDocument(t, 1, campaign("a", 1, "")))
		pass(time.Minute)
		equal(t, "in force", e.running(), []string{"a@1"})
		r.refuse(nil)
		pass(11 * time.Second)
		equal(t, "reported", r.take(), []string{"a@1 ACTIVE"})
	})
}

// TestAppliedOnce: while only the report cannot be stored, the campaigns are not written again and again.
func TestAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, r, written := &engine{}, &reports{}, 0
		r.refuse(errors.New("disk"))
		k, err := config.Open(config.Config{
			Dir: t.TempDir(), Device: "tcu", Default: []campaigns.Campaign{campaign("default", 1, "")},
			Campaigns: e, Outbox: r, UnknownSignal: errUnknown, Log: slog.New(slog.DiscardHandler),
			Replace: func(string, []byte) error { written++; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		go k.Take(t.Context(), setDocument(t, 1, campaign("a", 1, ""), campaign("b", 1, "can9.M.S")))
		pass(time.Minute)
		r.refuse(nil)
		pass(11 * time.Second)
		equal(t, "reported", r.take(), []string{"a@1 ACTIVE", "b@1 REJECTED UNKNOWN_SIGNAL"})
		if written != 1 {
			t.Errorf("the campaigns were written %d times, want once", written)
		}
	})
}

// TestHugeSets: a set with too many campaigns is refused as a whole, and the answer to the worst one that is looked
// into fits into a message.
func TestHugeSets(t *testing.T) {
	e, r := &engine{}, &reports{}
	k := open(t, t.TempDir(), e, r)
	set := func(revision uint64, n int, path string) []byte {
		var list []campaigns.Campaign
		for i := range n {
			c := campaign(fmt.Sprintf("%0*d", protocol.MaxIDLength, i), revision, path)
			c.Spec.Signals = map[string]campaigns.SignalSelector{"s": {Path: path}}
			list = append(list, c)
		}
		return setDocument(t, revision, list...)
	}
	take(t, k, set(1, campaigns.MaxMembers+1, "can0.M.S"))
	equal(t, "too many", r.take(), []string{"@0 REJECTED UNDECODABLE"})
	take(t, k, set(2, campaigns.MaxMembers, "can0.M.S"))
	r.take()
	e.detail = strings.Repeat("x", 1000)
	take(t, k, set(3, campaigns.MaxMembers, "can9.M.S"))
	if got := len(r.got[0].Results); got != 2*campaigns.MaxMembers {
		t.Fatalf("got %d results, want each campaign's and what runs", got)
	}
	if got := len(mustMarshal(r.got[0])); got > protocol.MaxPacket {
		t.Errorf("the answer has %d bytes, want at most %d", got, protocol.MaxPacket)
	}
}

// TestFullDisk: a set that cannot be kept is not put in force, and no path gets out. It is tried
// again until it can be kept, or until a newer document takes its place.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		e, r := &engine{}, &reports{}
		k := open(t, dir, e, r)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		newer, cancel := context.WithCancel(t.Context())
		go k.Take(newer, setDocument(t, 1, campaign("b", 1, "")))
		synctest.Wait()
		equal(t, "in force", e.running(), []string{"default@1"})
		if d := r.got[0].Results[0]; d.Reason != reasons.Internal || !strings.Contains(d.Detail, "campaigns.cbor") || strings.Contains(d.Detail, dir) {
			t.Errorf("got %+v, want the file's base name and the reason", d)
		}
		r.take()
		cancel()
		doc := setDocument(t, 2, campaign("a", 1, ""))
		go k.Take(t.Context(), doc)
		synctest.Wait()
		r.take()
		pass(time.Minute)
		equal(t, "tried again without room", r.take(), nil)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		r.refuse(errors.New("no"))
		pass(11 * time.Second)
		r.refuse(nil)
		pass(21 * time.Second)
		equal(t, "in force with room again", e.running(), []string{"a@1"})
		equal(t, "reported once", r.take(), []string{"a@1 ACTIVE"})
		k.Take(t.Context(), doc)
		equal(t, "the same again", r.take(), nil)
	})
}

// TestDamagedFile: the default applies, and the agent starts.
func TestDamagedFile(t *testing.T) {
	for name, data := range map[string][]byte{
		"noise": []byte("\x9f\x9f\x9f"), "empty": {}, "another version": mustMarshal(campaigns.Set{Version: 3}),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "campaigns.cbor"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			e, r := &engine{}, &reports{}
			k := open(t, dir, e, r)
			equal(t, "in force", e.running(), []string{"default@1"})
			take(t, k, setDocument(t, 1, campaign("a", 1, "")))
			equal(t, "in force", e.running(), []string{"a@1"})
		})
	}
	var log bytes.Buffer
	_, err := config.Open(config.Config{Dir: t.TempDir(), Campaigns: &engine{refuse: errors.New("no")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil || !strings.Contains(err.Error(), "default campaign") {
		t.Errorf("got %v, want that the default does not fit", err)
	}
	if log.Len() > 0 {
		t.Errorf("nothing is kept, but it says: %s", &log)
	}
}

func TestSchemas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "schemas")
	s, err := config.OpenSchemas(dir)
	if err != nil {
		t.Fatal(err)
	}
	doc := []byte("a schema")
	hash := protocol.SchemaHash(sha256.Sum256(doc))
	if _, ok := s.Schema(hash); ok {
		t.Error("there before it was kept")
	}
	for range 2 {
		if err := s.Save(hash, doc); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got files %v, want one", files)
	}
	if s, err = config.OpenSchemas(dir); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Schema(hash); !ok || !bytes.Equal(got, doc) {
		t.Errorf("after a restart: got %q, %v", got, ok)
	}
	if err := os.WriteFile(files[0], []byte("A schema"), 0o600); err != nil { // damaged, of the same length
		t.Fatal(err)
	}
	if _, ok := s.Schema(hash); ok {
		t.Error("a damaged schema counts as there")
	}
	if err := s.Save(hash, doc); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Schema(hash); !ok || !bytes.Equal(got, doc) {
		t.Errorf("kept again: got %q, %v", got, ok)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(hash, doc); err != nil { // the folder may come late: the disk was full when it was to be made
		t.Errorf("the folder was gone: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(protocol.SchemaHash{1}, doc); err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want an error without the folder's path", err)
	}
}

// TestRevision: a set can be used when all that it says can be read, or is what this agent does not support.
func TestRevision(t *testing.T) {
	doc := func(change func(*campaigns.Set)) []byte {
		set := campaigns.Set{Version: 1, Revision: 5, Campaigns: []campaigns.Campaign{campaigns.Everything()}}
		change(&set)
		data, err := document.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	later := map[string]any{"must": []string{"spec.later"}, "metadata": map[string]any{"id": "later", "rev": 1}}
	unsupported, err := document.Marshal(map[string]any{"v": 1, "rev": 5, "campaigns": []any{campaigns.Everything(), later}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text []byte
		want bool
	}{
		"good":                    {doc(func(*campaigns.Set) {}), true},
		"empty":                   {doc(func(s *campaigns.Set) { s.Campaigns = nil }), true},
		"garbled":                 {[]byte("\xa1ab"), false},
		"other version":           {doc(func(s *campaigns.Set) { s.Version = 2 }), false},
		"a bad campaign":          {doc(func(s *campaigns.Set) { s.Campaigns[0].Spec.Collect = nil }), false},
		"an unsupported campaign": {unsupported, true},
	} {
		if n, usable := config.Revision(tt.text); usable != tt.want || usable && n != 5 {
			t.Errorf("%s: got revision %d, usable %v", name, n, usable)
		}
	}
}
