package collect_test

import (
	"testing"

	"telltale.dev/agent/collect"
	"telltale.dev/protocol/campaigns"
)

// TestFirstBlock: frames may already be there when the agent starts; what was
// in force before takes them.
func TestFirstBlock(t *testing.T) {
	for range 100 { // a choice between two that are ready is random
		s := newStage(t, t.Context(), car())
		s.c.Load(compile(t, s.cat, campaigns.Everything()))
		s.feed(speed(0, 700, 0))
		s.end()
		if len(s.order) != 1 || len(s.of(s.order[0], "speed")) != 1 {
			t.Fatalf("got %v, want the row of the first block", s.got)
		}
	}
}

// TestNoProgram: without a program nothing is wanted, and the account goes on.
func TestNoProgram(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.feed(speed(0, 1, 0), speed(1, 2, 0))
	s.end()
	if len(s.got) != 0 || s.account.Received != 2 || s.blocks == 0 {
		t.Errorf("got %v in %d blocks", s.got, s.blocks)
	}
}

// TestModes: every sample, changes only, and the last value of an interval, which a group that has it newer takes over.
func TestModes(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.c.Load(compile(t, s.cat, rule("all", "", false), rule("changes", "", true), rule("grid", "1s", false)))
	s.feed(speed(0.1, 1, 0), row{heatGroup, 0.2, []int64{0, 7}}, row{fixGroup, 0.3, []int64{50}})
	s.feed(speed(0.4, 1, 9), row{levelGroup, 0.5, []int64{1, 8}}, speed(1.2, 2, 9))
	s.end()
	if len(s.order) != 3 {
		t.Fatalf("got %d captures, want 3", len(s.order))
	}
	all, changes, grid := s.order[0], s.order[1], s.order[2]
	if all.Rule != "all" || changes.Rule != "changes" || grid.Rule != "grid" {
		t.Fatalf("got %s, %s, %s", all.Rule, changes.Rule, grid.Rule)
	}
	s.want(all, "speed", "1@0.1", "1@0.4", "2@1.2")
	s.want(all, "Page", "0@0.2", "1@0.5")
	s.want(all, "latitude", "50@0.3")
	s.want(changes, "speed", "1@0.1", "2@1.2")
	s.want(changes, "brake", "0@0.1", "9@0.4")
	s.want(changes, "Page", "0@0.2", "1@0.5")
	s.want(grid, "speed", "1@1", "2@1.2") // the second interval is cut short
	s.want(grid, "Page", "1@1")
	s.want(grid, "heat", "7@1")
	s.want(grid, "latitude", "50@0.3")
}

// TestReload: a rule that stays keeps its capture and what it remembers; another one gets a capture of its own.
func TestReload(t *testing.T) {
	s := newStage(t, t.Context(), car())
	changes := rule("changes", "", true, "can0.SPEED.*")
	s.c.Load(compile(t, s.cat, changes, rule("a", "", false, "gnss0.*.*")))
	s.feed(speed(0, 1, 0))
	s.load(compile(t, s.cat, rule("b", "", false), changes))
	s.feed(speed(1, 1, 1))
	faster := changes
	faster.Spec.Encoding.Batch.Age = "1s"
	s.load(compile(t, s.cat, faster))
	s.feed(speed(2, 1, 1))
	s.end()
	var kept, again *collect.Capture
	for _, c := range s.order {
		if c.Rule == "changes" && kept == nil {
			kept = c
		} else if c.Rule == "changes" {
			again = c
		}
	}
	if kept == nil || again == nil {
		t.Fatalf("got %d captures", len(s.order))
	}
	s.want(kept, "speed", "1@0")
	s.want(kept, "brake", "0@0", "1@1")
	s.want(again, "speed", "1@2")
}
