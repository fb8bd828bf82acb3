package ledger_test

import (
	"slices"
	"testing"

	"telltale.dev/protocol/report"
	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/world"
)

// TestBehind: of a vehicle with the sequences 1 to 9 and 1 to 2, which still has to declare 8, the
// cloud must know all others.
func TestBehind(t *testing.T) {
	after := report.Account{
		Boots:   []report.Boot{{Boot: "a", NextSeq: 10}, {Boot: "b", NextSeq: 3}, {Boot: "c", NextSeq: 1}},
		Evicted: []report.Range{{Boot: "a", From: 8, To: 8}},
	}
	b := world.Delivery{Boot: "b", Last: 2, Stayed: [][2]uint64{{2, 2}}}
	for _, c := range []struct {
		name string
		list []world.Delivery
		want bool
	}{
		{"knows all", []world.Delivery{{Boot: "a", Last: 9, Gaps: [][2]uint64{{8, 8}}, Evicted: [][2]uint64{{3, 4}}}, b}, false},
		{"knows more", []world.Delivery{b, {Boot: "a", Last: 12}, {Boot: "z", Last: 4, Gaps: [][2]uint64{{1, 3}}}}, false},
		{"the last one is missing", []world.Delivery{{Boot: "a", Last: 8}, b}, true},
		{"one in between is missing", []world.Delivery{{Boot: "a", Last: 9, Gaps: [][2]uint64{{3, 3}, {8, 8}}}, b}, true},
		{"a boot is missing", []world.Delivery{{Boot: "a", Last: 9}}, true},
		{"nothing is there", nil, true},
	} {
		if got := ledger.Behind(c.list, after); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	got := ledger.Evictions([]world.Delivery{{Boot: "a", Evicted: [][2]uint64{{3, 4}}}, b})
	if want := []report.Range{{Boot: "a", From: 3, To: 4}, {Boot: "b", From: 2, To: 2}}; !slices.Equal(got, want) {
		t.Errorf("got the evicted ranges %v, want %v", got, want)
	}
}
