package campaign_test

import (
	"fmt"
	"strings"
	"testing"

	"telltale.dev/cloud/campaign"
	"telltale.dev/protocol"
)

func said(id string, revision uint64, state protocol.CampaignState) protocol.DocumentResult {
	return protocol.DocumentResult{ID: id, Revision: revision, State: state}
}

func TestReports(t *testing.T) {
	rejected := said("c", 2, protocol.CampaignRejected)
	rejected.Reason, rejected.Detail = protocol.ReasonUnknownSignal, "no such signal"
	type word struct {
		vid protocol.VehicleID
		protocol.DocumentResult
	}
	for _, c := range []struct {
		name   string
		words  []word
		state  protocol.CampaignState
		counts map[protocol.CampaignState]int
	}{
		{"none", nil, protocol.CampaignPending, nil},
		{"one", []word{{"anna", said("c", 2, protocol.CampaignActive)}}, protocol.CampaignActive, map[protocol.CampaignState]int{protocol.CampaignActive: 1}},
		{"twice the same", []word{{"anna", said("c", 2, protocol.CampaignActive)}, {"anna", said("c", 2, protocol.CampaignActive)}},
			protocol.CampaignActive, map[protocol.CampaignState]int{protocol.CampaignActive: 1}},
		{"one of two rejects", []word{{"anna", said("c", 2, protocol.CampaignActive)}, {"bert", rejected}},
			protocol.CampaignRejected, map[protocol.CampaignState]int{protocol.CampaignActive: 1, protocol.CampaignRejected: 1}},
		{"then it fits", []word{{"bert", rejected}, {"bert", said("c", 2, protocol.CampaignActive)}},
			protocol.CampaignActive, map[protocol.CampaignState]int{protocol.CampaignActive: 1}},
		{"another still rejects", []word{{"anna", rejected}, {"bert", rejected}, {"bert", said("c", 2, protocol.CampaignActive)}},
			protocol.CampaignRejected, map[protocol.CampaignState]int{protocol.CampaignActive: 1, protocol.CampaignRejected: 1}},
		{"older revision", []word{{"anna", said("c", 1, protocol.CampaignActive)}}, protocol.CampaignPending, nil},
		{"unknown campaign", []word{{"anna", said("x", 2, protocol.CampaignActive)}}, protocol.CampaignPending, nil},
		{"unknown state", []word{{"anna", said("c", 2, "GREAT")}}, protocol.CampaignPending, nil},
		{"whole set, another one", []word{{"anna", said("", 12, protocol.CampaignRejected)}}, protocol.CampaignPending, nil},
		{"whole set", []word{{"anna", said("", 0, protocol.CampaignRejected)}}, protocol.CampaignRejected, map[protocol.CampaignState]int{protocol.CampaignRejected: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			s.push("c", doc("c", 1, ""))
			s.push("c", doc("c", 2, ""))
			for _, w := range c.words {
				s.report(w.vid, w.DocumentResult)
			}
			check := func(when string) {
				t.Helper()
				r := s.result("c")
				if r.State != c.state || fmt.Sprint(r.Counts) != fmt.Sprint(c.counts) {
					t.Errorf("%s: got %+v, want %s %v", when, r, c.state, c.counts)
				}
				if len(c.words) > 0 && r.State == protocol.CampaignRejected && c.words[0].ID != "" && (r.Reason != rejected.Reason || r.Detail != rejected.Detail) {
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
	s.report("anna", said("c", 1, protocol.CampaignActive))
	if r := s.result("c"); r.State != protocol.CampaignActive || r.Vehicles["anna"].State != protocol.CampaignActive {
		t.Errorf("got %+v, want ACTIVE", r)
	}
}

// TestNewRevisionForgets: answers about an earlier revision, or an earlier life of the campaign, do not come back.
func TestNewRevisionForgets(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.report("anna", said("c", 1, protocol.CampaignActive))
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.push("c", "")
	s.push("c", doc("c", 1, "  priority: CS5\n"))
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.open()
	if r := s.result("c"); r.State != protocol.CampaignPending || len(r.Vehicles) != 0 {
		t.Errorf("got %+v, want PENDING", r)
	}
}

func TestOtherDocumentsArePassedOver(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.Report("anna", protocol.DocumentStatus{Document: "policy", Results: []protocol.DocumentResult{said("c", 1, protocol.CampaignActive)}})
	if r := s.result("c"); r.State != protocol.CampaignPending {
		t.Errorf("got %+v, want PENDING", r)
	}
}

// TestResultsStaySmall: whatever vehicles say, and however many.
func TestResultsStaySmall(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	for i := range 2000 {
		bad := said("c", 1, protocol.CampaignRejected)
		bad.Detail, bad.Reason = strings.Repeat("é", 5000), protocol.Reason(strings.Repeat("R", 500))
		s.report(protocol.VehicleID(fmt.Sprint("car", i)), bad)
	}
	largest := 0
	for _, m := range s.delivered {
		largest = max(largest, len(m.Payload))
	}
	if largest > 64<<10 {
		t.Errorf("got a result of %d bytes, want at most 64 KiB", largest)
	}
	if r := s.result("c"); r.Counts[protocol.CampaignRejected] != 2000 || len(r.Vehicles) != 0 {
		t.Errorf("got %+v, want counts only", r.Counts)
	}
	for i := range 2000 {
		s.push(fmt.Sprint("bad", i), "?")
	}
	if got := len(s.Results()); got > 300 {
		t.Errorf("got %d results kept, want a bound", got)
	}
	var last campaign.Result = s.result("bad1999")
	if last.State != protocol.CampaignRejected {
		t.Errorf("got %+v, want the newest one kept", last)
	}
}
