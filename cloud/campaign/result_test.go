package campaign_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"telltale.dev/cloud/campaign"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

func said(id string, revision uint64, state document.State) document.Result {
	return document.Result{ID: id, Revision: revision, State: state}
}

func TestReports(t *testing.T) {
	rejected := said("c", 2, document.Rejected)
	rejected.Reason, rejected.Detail = reasons.UnknownSignal, "no such signal"
	type word struct {
		vid protocol.VehicleID
		document.Result
	}
	for _, c := range []struct {
		name   string
		words  []word
		state  document.State
		counts map[document.State]int
	}{
		{"none", nil, document.Pending, nil},
		{"one", []word{{"anna", said("c", 2, document.Active)}}, document.Active, map[document.State]int{document.Active: 1}},
		{"twice the same", []word{{"anna", said("c", 2, document.Active)}, {"anna", said("c", 2, document.Active)}},
			document.Active, map[document.State]int{document.Active: 1}},
		{"one of two rejects", []word{{"anna", said("c", 2, document.Active)}, {"bert", rejected}},
			document.Rejected, map[document.State]int{document.Active: 1, document.Rejected: 1}},
		{"then it fits", []word{{"bert", rejected}, {"bert", said("c", 2, document.Active)}},
			document.Active, map[document.State]int{document.Active: 1}},
		{"another still rejects", []word{{"anna", rejected}, {"bert", rejected}, {"bert", said("c", 2, document.Active)}},
			document.Rejected, map[document.State]int{document.Active: 1, document.Rejected: 1}},
		{"older revision", []word{{"anna", said("c", 1, document.Active)}}, document.Pending, nil},
		{"unknown campaign", []word{{"anna", said("x", 2, document.Active)}}, document.Pending, nil},
		{"unknown state", []word{{"anna", said("c", 2, "GREAT")}}, document.Pending, nil},
		{"whole set, another one", []word{{"anna", said("", 12, document.Rejected)}}, document.Pending, nil},
		{"whole set", []word{{"anna", said("", 0, document.Rejected)}}, document.Rejected, map[document.State]int{document.Rejected: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			s.push("c", doc("c", 1, ""))
			s.push("c", doc("c", 2, ""))
			for _, w := range c.words {
				s.report(w.vid, w.Result)
			}
			check := func(when string) {
				t.Helper()
				r := s.result("c")
				if r.State != c.state || fmt.Sprint(r.Counts) != fmt.Sprint(c.counts) {
					t.Errorf("%s: got %+v, want %s %v", when, r, c.state, c.counts)
				}
				if len(c.words) > 0 && r.State == document.Rejected && c.words[0].ID != "" && (r.Reason != rejected.Reason || r.Detail != rejected.Detail) {
					t.Errorf("%s: got %+v, want the reason of a vehicle", when, r)
				}
			}
			check("live")
			if err := s.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.open()
			check("after a restart")
		})
	}
}

// TestLateAnswer: what a vehicle says only after the cloud was started again counts.
func TestLateAnswer(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.open()
	s.report("anna", said("c", 1, document.Active))
	if r := s.result("c"); r.State != document.Active || r.Vehicles["anna"].State != document.Active {
		t.Errorf("got %+v, want ACTIVE", r)
	}
}

// TestNewRevisionForgets: answers about an earlier revision, or an earlier life of the campaign, do not come back.
func TestNewRevisionForgets(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.report("anna", said("c", 1, document.Active))
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.push("c", removal("c", 2))
	s.push("c", doc("c", 1, "  priority: CS5\n"))
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.open()
	if r := s.result("c"); r.State != document.Pending || len(r.Vehicles) != 0 {
		t.Errorf("got %+v, want PENDING", r)
	}
}

func TestOtherDocumentsArePassedOver(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.Report("anna", document.Status{Document: "policy", Results: []document.Result{said("c", 1, document.Active)}})
	if r := s.result("c"); r.State != document.Pending {
		t.Errorf("got %+v, want PENDING", r)
	}
}

// TestResultsStaySmall: whatever vehicles say, and however many.
func TestResultsStaySmall(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	for i := range 2000 {
		bad := said("c", 1, document.Rejected)
		bad.Detail, bad.Reason = strings.Repeat("é", 5000), reasons.Reason(strings.Repeat("R", 500))
		s.report(protocol.VehicleID(fmt.Sprint("car", i)), bad)
	}
	largest := 0
	for _, m := range s.delivered {
		largest = max(largest, len(m.Payload))
	}
	if largest > 64<<10 {
		t.Errorf("got a result of %d bytes, want at most 64 KiB", largest)
	}
	if r := s.result("c"); r.Counts[document.Rejected] != 2000 || len(r.Vehicles) != 0 {
		t.Errorf("got %+v, want counts only", r.Counts)
	}
	for i := range 2000 {
		s.push(fmt.Sprint("bad", i), "?")
	}
	if got := len(s.Results()); got > 300 {
		t.Errorf("got %d results kept, want a bound", got)
	}
	var last campaign.Result = s.result("bad1999")
	if last.State != document.Rejected {
		t.Errorf("got %+v, want the newest one kept", last)
	}
}

// rejects gives a rejection with what the agent says beside it.
func (s *stage) rejects(version int, vid protocol.VehicleID, id string, revision uint64, runs ...document.Result) {
	bad := said(id, revision, document.Rejected)
	bad.Reason, bad.Detail = reasons.UnknownSignal, "no such signal"
	s.Report(vid, document.Status{Version: version, Document: campaigns.Document, Device: "tcu", Results: append([]document.Result{bad}, runs...)})
}

// TestRejectedRevisionHidesNothing: what runs is said beside the revision that was
// rejected, whatever happens in between.
func TestRejectedRevisionHidesNothing(t *testing.T) {
	active := func(revision uint64) document.Result { return said("c", revision, document.Active) }
	for _, c := range []struct {
		name    string
		then    func(*stage)
		state   document.State
		summary string
		runs    uint64 // on anna
	}{
		{"not answered yet", func(*stage) {}, document.Pending, "51 PENDING, 50 still runs", 50},
		{"rejected", func(s *stage) { s.rejects(2, "anna", "c", 51, active(50)) }, document.Rejected, "51 REJECTED, 50 still runs", 50},
		{"rejected by an older agent", func(s *stage) { s.rejects(1, "anna", "c", 51) }, document.Rejected, "51 REJECTED, 50 still runs", 50},
		{"rejected, and the earlier one was lost", func(s *stage) { s.rejects(2, "anna", "c", 51) }, document.Rejected, "51 REJECTED", 0},
		{"the whole set rejected", func(s *stage) { s.rejects(2, "anna", "", 0, active(50)) }, document.Rejected, "51 REJECTED, 50 still runs", 50},
		{"the whole set rejected by an older agent", func(s *stage) { s.rejects(1, "anna", "", 0) }, document.Rejected, "51 REJECTED, 50 still runs", 50},
		{"the whole set rejected after it ran", func(s *stage) {
			s.report("anna", active(51))
			s.rejects(2, "anna", "", 0, active(51))
			s.rejects(1, "anna", "", 0)
		}, document.Active, "51 ACTIVE", 0},
		{"accepted in the end", func(s *stage) { s.rejects(2, "anna", "c", 51, active(50)); s.report("anna", active(51)) }, document.Active, "51 ACTIVE", 0},
		{"two in a row rejected", func(s *stage) {
			s.rejects(2, "anna", "c", 51, active(50))
			s.push("c", doc("c", 52, ""))
			s.rejects(2, "anna", "c", 52, active(50))
		}, document.Rejected, "52 REJECTED, 50 still runs", 50},
		{"vehicles that differ", func(s *stage) {
			s.rejects(2, "bert", "c", 51, active(49))
			s.rejects(2, "anna", "c", 51, active(50))
		}, document.Rejected, "51 REJECTED, 50 and 49 still run", 50},
		{"a lower push", func(s *stage) {
			s.rejects(2, "anna", "c", 51, active(50))
			s.push("c", doc("c", 51, "  priority: CS3\n"))
			if r := s.answer("c"); r.State != document.Rejected || r.Detail != "metadata.revision: expected more than 51, the newest one accepted: 51 REJECTED, 50 still runs" {
				s.t.Errorf("got %+v, want what is true of 51", r)
			}
		}, document.Rejected, "51 REJECTED, 50 still runs", 50},
		{"a malformed push", func(s *stage) {
			s.rejects(2, "anna", "c", 51, active(50))
			s.push("c", doc("c", 60, "  colour: red\n"))
			if r := s.answer("c"); r.Revision != 60 || r.Summary != "60 REJECTED, 50 still runs" {
				s.t.Errorf("got %+v, want that 50 still runs", r)
			}
		}, document.Rejected, "51 REJECTED, 50 still runs", 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			s.push("c", doc("c", 50, ""))
			s.report("anna", active(50))
			s.push("c", doc("c", 51, "  priority: CS2\n"))
			c.then(s)
			check := func(when string) {
				t.Helper()
				r := s.result("c")
				if r.State != c.state || r.Summary != c.summary || r.Vehicles["anna"].Runs != c.runs {
					t.Errorf("%s: got %+v, want %s, %q, %d on anna", when, r, c.state, c.summary, c.runs)
				}
				if list := s.List(); list[0].Result.Summary != c.summary {
					t.Errorf("%s: got %q in the list, want %q", when, list[0].Result.Summary, c.summary)
				}
			}
			check("live")
			if err := s.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.open()
			check("after a restart")
		})
	}
}

// TestReply: what became of a push goes to who pushed it, until another push is accepted.
func TestReply(t *testing.T) {
	s := start(t)
	olga, otto := &campaign.Reply{Topic: "v1/ops/reply/olga"}, &campaign.Reply{Topic: "v1/ops/reply/otto"}
	last := func(want *campaign.Reply, state document.State, what string) {
		t.Helper()
		if r := s.answer("c"); r.State != state {
			t.Errorf("%s: got %+v, want %s", what, r, state)
		}
		for _, m := range s.delivered {
			if m.Reply != want && m.Topic.Kind == topics.OpsResult {
				t.Errorf("%s: got a reply to %v, want %v", what, m.Reply, want)
			}
		}
		for _, m := range s.Results() {
			if m.Reply != nil {
				t.Errorf("%s: a reply is kept", what)
			}
		}
		s.delivered = nil
	}
	push := func(doc string, to *campaign.Reply) {
		t.Helper()
		if _, err := s.Push(t.Context(), "c", []byte(doc), to); err != nil {
			t.Fatal(err)
		}
	}
	push("?", otto)
	last(otto, document.Rejected, "before there was any")
	push(doc("c", 1, ""), olga)
	last(olga, document.Pending, "accepted")
	push(doc("c", 1, "  priority: CS3\n"), otto)
	last(otto, document.Rejected, "refused")
	s.report("anna", said("c", 1, document.Active))
	last(olga, document.Active, "a vehicle's word")
	push(doc("c", 1, ""), otto)
	last(otto, document.Active, "once more")
	push(removal("c", 2), olga)
	last(olga, document.Removed, "removed")
}

// TestForget: a deleted vehicle counts nowhere, also after a restart.
func TestForget(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.report("bert", said("c", 1, document.Active))
	s.rejects(2, "anna", "c", 1, said("c", 0, document.Active))
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Forget(t.Context(), "anna"), s.Forget(t.Context(), "nobody")); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if r := s.result("c"); r.State != document.Active || len(r.Vehicles) != 1 || r.Summary != "1 ACTIVE" {
			t.Errorf("%s: got %+v, want only bert's word", when, r)
		}
	}
	check("live")
	s.open()
	check("after a restart")
}
