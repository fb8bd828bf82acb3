package campaign_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"telltale.dev/agent/campaign"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// pages has a message whose selector three groups carry, one of them truncated, and another of one signal.
const pages = `BO_ 256 PAGES: 8 ECU
 SG_ Page M : 0|2@1+ (1,0) [0|3] "" ECU
 SG_ Pressure m0 : 8|8@1+ (0.5,0) [0|100] "bar" ECU
 SG_ Heat m1 : 8|8@1- (1,-40) [0|100] "C" ECU
BO_ 1 SPEED: 8 ECU
 SG_ SPEED : 0|16@1+ (0.01,0) [0|0] "km/h" ECU
`

// document is a campaign with one rule of all signals that match the paths.
func document(id string, change func(*campaigns.Rule), paths ...string) campaigns.Campaign {
	c := campaigns.Everything()
	c.Metadata.ID = protocol.CampaignID(id)
	if change != nil {
		change(&c.Spec.Collect[0])
	}
	for i, p := range paths {
		if c.Spec.Signals == nil {
			c.Spec.Signals = map[string]campaigns.SignalSelector{}
		}
		c.Spec.Signals[fmt.Sprint("s", i)] = campaigns.SignalSelector{Path: p}
	}
	return c
}

// TestCompile: a rule's tables say of each group of the catalogue which of its values go where.
func TestCompile(t *testing.T) {
	cat := catalogueOf(t, pages)
	doc := document("some", func(r *campaigns.Rule) { r.Every = "100ms" }, "*.PAGES.[PH]*")
	doc.Spec.Priority, doc.Spec.Purpose = "CS0", "product-improvement"
	doc.Spec.Encoding.Batch = campaigns.BatchLimits{Age: "5s", Bytes: "4KiB"}
	p, err := campaign.Compile(cat, []campaigns.Campaign{doc, document("all", nil)})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Rules) != 2 || p.Catalogue != cat {
		t.Fatalf("got %d rules", len(p.Rules))
	}
	r := p.Rules[0]
	if r.Campaign != "some" || r.ID != "all" || r.Mode != protocol.ModeGrid || r.Interval != 100_000 || r.Class != protocol.CS0 ||
		r.Purpose != "product-improvement" || r.Age.Seconds() != 5 || r.SmallAge != r.Age || r.Bytes != 4096 || r.Window != nil {
		t.Errorf("got %+v", r)
	}
	for _, r := range p.Rules {
		parsed, err := schemas.Parse(r.Format.Document)
		if err != nil || len(parsed.Groups) != len(r.Take) {
			t.Fatalf("got schema %+v, error %v", parsed, err)
		}
		for g := range cat.Groups {
			check(t, cat, r, g)
		}
	}
	if all := p.Rules[1]; !slices.Contains(all.Shared, true) || all.Shared[all.Groups[last(cat, "SPEED")]] {
		t.Errorf("got shared %v: the selector is in several groups, SPEED is in one", all.Shared)
	}
	wanted := p.Wanted()
	if slices.Contains(wanted, false) || len(wanted) != len(cat.Signals) {
		t.Errorf("got wanted %v", wanted)
	}
	none, err := campaign.Compile(cat, nil)
	if err != nil || none.Wanted() != nil {
		t.Errorf("without campaigns: got %v, error %v", none.Wanted(), err)
	}
}

// last gives the last group of a message.
func last(cat *signal.Catalogue, message string) (group int) {
	for g := range cat.Groups {
		if cat.MessageOf(g) == message {
			group = g
		}
	}
	return group
}

// check compares a rule's tables for a group with the schema's names.
func check(t *testing.T, cat *signal.Catalogue, r *campaign.Rule, g int) {
	t.Helper()
	var want []string
	selected := func(name string) bool { return r.Campaign == "all" || strings.ContainsAny(name[:1], "PH") }
	for _, s := range cat.Groups[g].Signals {
		if name := cat.Signals[s].Name; selected(name) {
			want = append(want, name)
		}
	}
	if r.Campaign == "some" && cat.MessageOf(g) != "PAGES" {
		want = nil
	}
	to := r.Groups[g]
	if to < 0 {
		if want == nil && to != campaign.NotTaken || want != nil && (to != campaign.Truncated || !cat.Groups[g].Short) {
			t.Errorf("%s: group %d: got %d, wanted are %v", r.Campaign, g, to, want)
		}
		return
	}
	var got []string
	for i, m := range r.Format.Schema.Groups[to] {
		at := i
		if r.Take[to] != nil {
			at = r.Take[to][i]
		}
		name := cat.Signals[cat.Groups[g].Signals[at]].Name
		if name != r.Format.Schema.Signals[m].Name {
			t.Errorf("%s: group %d: takes %s as %s", r.Campaign, g, name, r.Format.Schema.Signals[m].Name)
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) || r.Sources[to] != cat.SourceOf(g) || cat.Groups[g].Short {
		t.Errorf("%s: group %d: got %v, want %v", r.Campaign, g, got, want)
	}
}

func TestCompileRefuses(t *testing.T) {
	cat := catalogueOf(t, pages)
	many := document("many", nil)
	for i := range 33 {
		many.Spec.Collect = append(many.Spec.Collect, campaigns.Rule{ID: fmt.Sprint("r", i)})
	}
	others := many
	others.Metadata.ID = "others"
	var wide, large strings.Builder
	fmt.Fprint(&wide, "BO_ 1 W: 64 X\n")
	for i := range 5000 {
		fmt.Fprintf(&wide, " SG_ s%d : 0|8@1+ (1,0) [0|0] \"\" X\n", i)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for m := range 1000 {
		fmt.Fprintf(&large, "BO_ %d M%d: 8 X\n", m+1, m)
		for i := range 8 {
			fmt.Fprintf(&large, " SG_ s%x%x_%d : %d|8@1+ (1,0) [0|0] \"%x%x\" X\n", random.Uint64(), random.Uint64(), i, i*8, random.Uint64(), random.Uint64())
		}
	}
	tests := []struct {
		name string
		cat  *signal.Catalogue
		set  []campaigns.Campaign
		text string
		is   error
	}{
		{"a campaign twice", cat, []campaigns.Campaign{document("a", nil), document("a", nil)}, "campaign a: expected once", campaigns.ErrInvalid},
		{"an unknown signal", cat, []campaigns.Campaign{document("a", nil, "can0.SPEED.RPM")}, "campaign a: spec.signals.s0.path", campaign.ErrUnknownSignal},
		{"too many rules together", cat, []campaigns.Campaign{many, others}, "at most 64 rules", campaigns.ErrInvalid},
		{"a row that is too wide", catalogueOf(t, wide.String()), []campaigns.Campaign{document("a", nil)}, "message W has 5000 signals", campaigns.ErrInvalid},
		{"a schema that is too large", catalogueOf(t, large.String()), []campaigns.Campaign{document("a", nil)}, "choose fewer signals", campaigns.ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := campaign.Compile(test.cat, test.set)
			if p != nil || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}

// TestSame: a rule goes on only when nothing about it is different.
func TestSame(t *testing.T) {
	cat := catalogueOf(t, pages)
	compile := func(change func(*campaigns.Campaign)) *campaign.Rule {
		doc := document("a", nil, "*.PAGES.*")
		change(&doc)
		p, err := campaign.Compile(cat, []campaigns.Campaign{doc})
		if err != nil {
			t.Fatal(err)
		}
		return p.Rules[0]
	}
	before := compile(func(*campaigns.Campaign) {})
	if !before.Same(compile(func(c *campaigns.Campaign) {
		c.Metadata.Revision = 9
		c.Spec.Signals["s0"] = campaigns.SignalSelector{Path: "can0.PAGE?.*"}
	})) {
		t.Error("another revision that asks for the same is another rule")
	}
	for name, change := range map[string]func(*campaigns.Campaign){
		"campaign": func(c *campaigns.Campaign) { c.Metadata.ID = "b" },
		"id":       func(c *campaigns.Campaign) { c.Spec.Collect[0].ID = "b" },
		"mode":     func(c *campaigns.Campaign) { c.Spec.Collect[0].OnChange = true },
		"grid":     func(c *campaigns.Campaign) { c.Spec.Collect[0].Every = "1s" },
		"class":    func(c *campaigns.Campaign) { c.Spec.Priority = "CS0" },
		"purpose":  func(c *campaigns.Campaign) { c.Spec.Purpose = "research" },
		"age":      func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Age = "1s" },
		"bytes":    func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Bytes = "2KiB" },
		"tick":     func(c *campaigns.Campaign) { c.Spec.Encoding.Tick = "1us" },
		"signals":  func(c *campaigns.Campaign) { c.Spec.Signals = nil },
	} {
		if before.Same(compile(change)) {
			t.Errorf("%s: a different rule goes on", name)
		}
	}
	window := compile(func(*campaigns.Campaign) {})
	window.Window = &campaign.Window{Pre: 1}
	other := *window
	other.Window = &campaign.Window{Pre: 1}
	if before.Same(window) || window.Same(before) || !window.Same(&other) {
		t.Error("windows are not compared by what they say")
	}
}

// TestExtend: truncated rows come into the schema as groups behind the others; the rule of before stays as it was.
func TestExtend(t *testing.T) {
	cat := catalogueOf(t, pages)
	p, err := campaign.Compile(cat, []campaigns.Campaign{document("all", nil)})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Rules[0]
	short := int32(slices.Index(r.Groups, campaign.Truncated))
	if short < 0 {
		t.Fatal("no group is truncated")
	}
	groups := len(r.Take)
	next, err := r.Extend(cat, short)
	if err != nil {
		t.Fatal(err)
	}
	if int(next.Groups[short]) < groups || r.Groups[short] != campaign.Truncated || len(r.Take) != groups || next.Format.Hash == r.Format.Hash {
		t.Errorf("got group %d after, %d before", next.Groups[short], r.Groups[short])
	}
	for g, to := range r.Groups {
		if to >= 0 && next.Groups[g] != to {
			t.Errorf("group %d was %d and is %d now", g, to, next.Groups[g])
		}
	}
	if !next.Same(r) || !slices.Equal(names(next), names(r)) {
		t.Error("an extended rule is another one")
	}
}

func names(r *campaign.Rule) (list []string) {
	for i := range r.Format.Schema.Signals {
		list = append(list, r.Format.Schema.Signals[i].Name)
	}
	return list
}
