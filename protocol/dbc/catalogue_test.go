package dbc_test

import (
	"math"
	"testing"

	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/signal"
)

// TestCatalogue: the catalogue has the plan's entries at the plan's positions, and its signals mean the same.
func TestCatalogue(t *testing.T) {
	text := []byte(`BO_ 256 PAGES: 8 ECU
 SG_ Page M : 0|2@1+ (1,0) [0|3] "" ECU
 SG_ Pressure m0 : 8|8@1+ (0.244,-125) [0|100] "bar" ECU
 SG_ Heat m1 : 8|8@0- (1,-40) [0|100] "C" ECU
 SG_ Level : 16|64@1+ (1,0) [0|255] "" ECU
BO_ 2566844926 GROUP: 8 ECU
 SG_ State : 0|8@1+ (1,0) [0|0] "" ECU
VAL_ 2566844926 State 0 "off" 1 "on" ;
`)
	file, _, err := dbc.Parse("car.dbc", text)
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}, {Bus: "can1", Files: []*dbc.File{file, file}, J1939: true}, {Bus: "can2"}})
	if err != nil {
		t.Fatal(err)
	}
	c := plan.Catalogue()
	if len(c.Sources) != 3 || len(c.Messages) != len(plan.Messages()) || len(c.Signals) != len(plan.Signals()) || len(c.Groups) != len(plan.Layouts()) {
		t.Fatalf("got %d sources, %d messages, %d signals, %d groups", len(c.Sources), len(c.Messages), len(c.Signals), len(c.Groups))
	}
	for i, want := range []int{1, 2, 0} {
		if s := c.Sources[i]; s.Kind != signal.CAN || s.Name != plan.Buses()[i] || len(s.Files) != want {
			t.Errorf("got source %+v, want %d files", s, want)
		}
	}
	for g, l := range plan.Layouts() {
		if m := plan.Messages()[l.Message]; c.SourceOf(g) != m.Bus || c.MessageOf(g) != m.Name || c.Groups[g].Short != l.Short || len(c.Groups[g].Signals) != len(l.Signals) {
			t.Errorf("group %d: got %+v, want %+v", g, c.Groups[g], l)
		}
	}
	for i, want := range plan.Signals() {
		got := &c.Signals[i]
		if got.Bus != want.Bus || got.Message != want.Message || got.Name != want.Name || got.Unit != want.Unit ||
			got.CAN.ID != want.Frame || got.CAN.J1939 != want.J1939 || got.CAN.Start != want.Start || got.CAN.BigEndian != want.BigEndian {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for _, raw := range []int64{0, 1, 510, -1, math.MinInt64} {
			a, _ := got.Text(raw)
			b, _ := want.Text(raw)
			if x, y := got.Physical(raw), want.Physical(raw); math.Float64bits(x) != math.Float64bits(y) || a != b {
				t.Errorf("%s: got %v %q for %d, want %v %q", got.Name, x, a, raw, y, b)
			}
		}
	}
}
