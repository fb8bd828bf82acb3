package cli

import (
	"errors"
	"path/filepath"
	"testing"
)

// TestAllAnswered: an answer of a vehicle that is not in the list stands in for nobody.
func TestAllAnswered(t *testing.T) {
	list := []vehicle{{VID: "anna"}, {VID: "bert"}}
	v := campaignView{Counts: map[string]int{"ACTIVE": 2}}
	if !v.allAnswered(list) {
		t.Error("two answers without names are too few")
	}
	of := func(vids ...string) *campaignView {
		v := campaignView{Counts: map[string]int{"ACTIVE": len(vids)}}
		v.Vehicles = make(map[string]struct {
			State  string `json:"state"`
			Reason string `json:"reason"`
			Detail string `json:"detail"`
			Runs   uint64 `json:"runs"`
		})
		for _, vid := range vids {
			v.Vehicles[vid] = struct {
				State  string `json:"state"`
				Reason string `json:"reason"`
				Detail string `json:"detail"`
				Runs   uint64 `json:"runs"`
			}{State: "ACTIVE"}
		}
		return &v
	}
	if of("anna", "gone").allAnswered(list) {
		t.Error("an answer of a vehicle that is gone counts as one of bert")
	}
	if !of("anna", "bert", "gone").allAnswered(list) {
		t.Error("the answers of both are not enough")
	}
}

// TestOnceStarted: the starter campaign is pushed until it once worked, and never again.
func TestOnceStarted(t *testing.T) {
	mark, calls := filepath.Join(t.TempDir(), "starter"), 0
	fails := errors.New("no cloud")
	for _, err := range []error{fails, nil, nil} {
		if got := onceStarted(mark, func() error { calls++; return err }); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	if calls != 2 {
		t.Errorf("pushed %d times, want 2", calls)
	}
}
