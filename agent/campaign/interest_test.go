package campaign_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// fleet is a plan of three buses: an ordinary one, a truck's, and one without a DBC file.
func fleet(t testing.TB) *dbc.Plan {
	t.Helper()
	read := func(name string) *dbc.File {
		text, err := os.ReadFile(filepath.Join("..", "..", "simulator", "recordings", name))
		if err != nil {
			t.Fatal(err)
		}
		file, _, err := dbc.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	plan, _, err := dbc.Compile([]dbc.Source{
		{Bus: "can0", Files: []*dbc.File{read("toyota_new_mc_pt.dbc")}},
		{Bus: "can1", Files: []*dbc.File{read("j1939.dbc")}, J1939: true},
		{Bus: "can2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// interest compiles campaigns, one for each list of paths, and says what they want; a nil list is one of all signals.
func interest(t testing.TB, plan *dbc.Plan, lists ...[]string) []signals.Interest {
	t.Helper()
	var set []campaigns.Campaign
	for i, paths := range lists {
		doc := campaigns.Everything()
		doc.Metadata.ID = protocol.CampaignID([]string{"a", "b", "c"}[i])
		doc.Spec.Signals = map[string]campaigns.SignalSelector{}
		for _, p := range paths {
			doc.Spec.Signals["s"+string(rune('a'+len(doc.Spec.Signals)))] = campaigns.SignalSelector{Path: p}
		}
		set = append(set, doc)
	}
	program, err := campaign.Compile(plan.Catalogue(), set)
	if err != nil {
		t.Fatal(err)
	}
	got := signals.Interests(plan, plan.Buses(), program.Wanted())
	if len(got) != len(plan.Buses()) {
		t.Fatalf("told of %d buses, want %d", len(got), len(plan.Buses()))
	}
	return got
}

func TestInterest(t *testing.T) {
	plan := fleet(t)
	const all, none = -1, 0
	tests := []struct {
		name      string
		campaigns [][]string
		want      [3]int // filters of each bus
	}{
		{"everything", [][]string{nil}, [3]int{all, all, all}},
		{"everything beside one signal", [][]string{{"can0.SPEED.SPEED"}, nil}, [3]int{all, all, all}},
		{"no campaign", nil, [3]int{none, none, none}},
		{"one signal", [][]string{{"can0.SPEED.SPEED"}}, [3]int{1, none, none}},
		{"a whole bus", [][]string{{"can0.*.*"}}, [3]int{all, none, none}},
		{"all buses by name", [][]string{{"can0.*.*", "can1.*.*"}}, [3]int{all, all, all}},
		{"two campaigns", [][]string{{"can0.SPEED.SPEED"}, {"can0.GEAR_PACKET.*", "can1.EEC1.*"}}, [3]int{2, 1, none}},
	}
	for _, c := range tests {
		for i, got := range interest(t, plan, c.campaigns...) {
			want := c.want[i]
			if got.Everything != (want == all) || want >= 0 && len(got.Filters) != want || got.Everything && got.Filters != nil {
				t.Errorf("%s: %s: got %+v, want %d filters", c.name, plan.Buses()[i], got, want)
			}
		}
	}
	if got := interest(t, plan, []string{"can0.SPEED.SPEED"})[0].Filters; got[0] != can.ExactFilter(0xB4) {
		t.Errorf("SPEED: got filter %v, want %v", got[0], can.ExactFilter(0xB4))
	}
	if got := interest(t, plan, []string{"can1.EEC1.*"})[1].Filters; got[0] != can.GroupFilter(0x0CF00400|can.Extended) {
		t.Errorf("EEC1: got filter %v, want %v", got[0], can.GroupFilter(0x0CF00400|can.Extended))
	}
}

// TestInterestLosesNothing: a frame that is decoded as a wanted message passes,
// from whatever address, also through filters that were merged.
func TestInterestLosesNothing(t *testing.T) {
	plan := fleet(t)
	messages := plan.Messages()
	rapid.Check(t, func(t *rapid.T) {
		var paths []string
		chosen := map[int]bool{}
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			i := rapid.IntRange(0, len(messages)-1).Draw(t, "message")
			if m := messages[i]; len(m.Signals) > 0 && m.Name != "" && !chosen[i] {
				chosen[i] = true
				paths = append(paths, plan.Buses()[m.Bus]+"."+m.Name+".*")
			}
		}
		if len(paths) == 0 {
			return
		}
		limit := rapid.IntRange(4, 16).Draw(t, "limit")
		wanted := interestOf(t, plan, paths)
		for bus, in := range wanted {
			narrow, _ := can.Narrow(in.Filters, limit)
			for i, m := range messages {
				if m.Bus != bus {
					continue
				}
				id := m.ID
				if m.J1939 {
					id = id&^0xFF&^(7<<26) | can.ID(rapid.Uint32Range(0, 0xFF).Draw(t, "address")) | can.ID(rapid.Uint32Range(0, 7).Draw(t, "priority"))<<26
				}
				if found := plan.Find(bus, id); found < 0 || !chosen[found] {
					continue
				}
				match := func(f can.Filter) bool { return f.Match(id) }
				if !in.Everything && (!slices.ContainsFunc(in.Filters, match) || !slices.ContainsFunc(narrow, match)) {
					t.Fatalf("frame %X of message %d %s does not pass", id, i, m.Name)
				}
			}
		}
	})
}

// interestOf is interest for one campaign inside a rapid check.
func interestOf(t *rapid.T, plan *dbc.Plan, paths []string) []signals.Interest {
	doc := campaigns.Everything()
	doc.Spec.Signals = map[string]campaigns.SignalSelector{}
	for i, p := range paths {
		doc.Spec.Signals[string(rune('a'+i))] = campaigns.SignalSelector{Path: p}
	}
	program, err := campaign.Compile(plan.Catalogue(), []campaigns.Campaign{doc})
	if err != nil {
		t.Fatal(err)
	}
	return signals.Interests(plan, plan.Buses(), program.Wanted())
}
