package collect_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol/campaigns"
)

// hard fires when somebody brakes hard.
type hard struct{}

func (hard) Fires(group int32, _ int64, raw []int64) bool { return group == speedGroup && raw[1] > 80 }

// windowed is a program whose rules have a window around hard braking.
func windowed(t testing.TB, s *stage, pre, post time.Duration, set ...campaigns.Campaign) *campaign.Program {
	t.Helper()
	p := compile(t, s.cat, set...)
	for _, r := range p.Rules {
		r.Window = &campaign.Window{Pre: pre, Post: post, Trigger: hard{}}
	}
	return p
}

// TestWindow: a capture has what came from before its moment until after it, of all sources, and nothing else.
func TestWindow(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.c.Load(windowed(t, s, 2*time.Second, time.Second, rule("burst", "", false)))
	s.feed(speed(0, 1, 0), row{fixGroup, 1.4, []int64{1}}, row{fixGroup, 1.6, []int64{2}})
	s.feed(speed(2, 2, 0), speed(3.5, 3, 99), row{fixGroup, 3.6, []int64{3}})
	s.feed(speed(4.5, 4, 0), speed(4.6, 5, 0))
	s.feed(row{fixGroup, 4.4, []int64{4}}) // another bus, behind the first
	s.feed(speed(7, 6, 0))                 // closed
	s.feed(speed(8, 7, 0))
	s.end()
	if len(s.order) != 1 || len(s.open) != 0 {
		t.Fatalf("got %d captures, %d open; want 1, closed", len(s.order), len(s.open))
	}
	c := s.order[0]
	if c.Moment != start+3_500_000 || c.Rule != "burst" {
		t.Errorf("got moment %d of %s", c.Moment-start, c.Rule)
	}
	s.want(c, "speed", "2@2", "3@3.5", "4@4.5")
	s.want(c, "latitude", "2@1.6", "3@3.6", "4@4.4")
}

// TestWindowModes: each capture begins anew: it has the first value of each signal, whatever another one has seen, and
// grid intervals of its own.
func TestWindowModes(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.c.Load(windowed(t, s, 2*time.Second, time.Second, rule("changes", "", true), rule("grid", "1s", false)))
	s.feed(speed(0.5, 7, 0), speed(1.5, 7, 0), speed(2.5, 7, 90), speed(3.2, 7, 0), speed(9, 7, 0), speed(10, 7, 90), speed(11, 7, 0), speed(20, 7, 0))
	s.end()
	if len(s.order) != 4 {
		t.Fatalf("got %d captures, want 4", len(s.order))
	}
	for _, c := range s.order {
		switch first := c.Moment < start+5*second; {
		case c.Rule == "changes" && first:
			s.want(c, "speed", "7@0.5")
			s.want(c, "brake", "0@0.5", "90@2.5", "0@3.2")
		case c.Rule == "changes":
			s.want(c, "speed", "7@9")
			s.want(c, "brake", "0@9", "90@10", "0@11")
		case first:
			s.want(c, "brake", "0@1", "0@2", "90@3", "0@4")
		default:
			s.want(c, "brake", "0@10", "90@11", "0@12")
		}
	}
}

// TestWindowsOverlap: several captures of a rule are open at once, each with all that is its own, up to a bound.
func TestWindowsOverlap(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.c.Load(windowed(t, s, time.Second, 10*time.Second, rule("burst", "", false, "can0.SPEED.speed")))
	for i := range 6 { // four are open at 4.0, the fifth and sixth are too many
		s.feed(speed(float64(i), int64(i), 99))
	}
	s.feed(speed(30, 30, 0))
	s.feed(speed(31, 31, 99)) // there is room again
	s.end()
	if got := s.c.Stats().Missed; got != 2 {
		t.Errorf("got %d missed moments, want 2", got)
	}
	if len(s.order) != 5 {
		t.Fatalf("got %d captures, want 5", len(s.order))
	}
	s.want(s.order[0], "speed", "0@0", "1@1", "2@2", "3@3", "4@4", "5@5")
	s.want(s.order[3], "speed", "2@2", "3@3", "4@4", "5@5")
	s.want(s.order[4], "speed", "30@30", "31@31")
}

// TestManyWindows: captures of all rules together are bounded.
func TestManyWindows(t *testing.T) {
	s := newStage(t, t.Context(), car())
	var set []campaigns.Campaign
	for i := range 20 {
		set = append(set, rule(string(rune('a'+i)), "", false))
	}
	s.c.Load(windowed(t, s, time.Second, time.Second, set...))
	s.feed(speed(0, 0, 99), speed(0.1, 0, 99))
	s.end()
	if got := s.c.Stats().Missed; got != 24 || len(s.order) != 16 {
		t.Errorf("got %d captures and %d missed moments, want 16 and 24", len(s.order), got)
	}
}

// TestHistoryOutlivesRule: a new revision of a campaign sees the past that was kept for the one before.
func TestHistoryOutlivesRule(t *testing.T) {
	s := newStage(t, t.Context(), car())
	first, second := rule("burst", "", false), rule("burst", "", false)
	second.Metadata.Revision, second.Spec.Encoding.Batch.Age = 2, "1s"
	s.c.Load(windowed(t, s, 5*time.Second, time.Second, first))
	s.feed(speed(0, 1, 0), speed(1, 2, 0))
	s.load(windowed(t, s, 5*time.Second, time.Second, second))
	s.feed(speed(2, 3, 99))
	s.end()
	if len(s.order) != 1 || s.order[0].Age != time.Second {
		t.Fatalf("got %d captures", len(s.order))
	}
	s.want(s.order[0], "speed", "1@0", "2@1", "3@2")
}

// TestWindowOfGoneRule: what a rule has open when it goes is handed on, and closed; one that stays goes on.
func TestWindowOfGoneRule(t *testing.T) {
	s := newStage(t, t.Context(), car())
	stays, goes := rule("stays", "", false, "can0.SPEED.*"), rule("goes", "1s", false, "can0.SPEED.*")
	s.c.Load(windowed(t, s, time.Second, time.Minute, goes, stays))
	s.feed(speed(0, 1, 99))
	s.load(windowed(t, s, time.Second, time.Minute, stays))
	s.feed(speed(0.5, 2, 0))
	s.end()
	if len(s.order) != 2 || len(s.open) != 1 {
		t.Fatalf("got %d captures, %d open; want 2, 1", len(s.order), len(s.open))
	}
	for _, c := range s.order {
		if c.Rule == "stays" {
			s.want(c, "speed", "1@0", "2@0.5")
		} else {
			s.want(c, "speed", "1@0") // its interval is cut short
		}
	}
}

// TestWindowClock: a clock that is set far back ends the captures, and the past of before means nothing any more.
func TestWindowClock(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.c.Load(windowed(t, s, 5*time.Second, 5*time.Second, rule("burst", "", false, "can0.SPEED.speed")))
	s.feed(speed(1000, 1, 0), speed(1001, 2, 99))
	s.feed(speed(0, 3, 0)) // the old capture takes none of this
	s.feed(speed(1, 4, 99), speed(2, 5, 0))
	s.end()
	if len(s.order) != 2 {
		t.Fatalf("got %d captures, want 2", len(s.order))
	}
	s.want(s.order[0], "speed", "1@1000", "2@1001")
	s.want(s.order[1], "speed", "3@0", "4@1", "5@2")
	if len(s.open) != 1 {
		t.Errorf("got %d open captures, want 1", len(s.open))
	}
}

// TestSilentBus: windows and intervals end when nothing comes any more.
func TestSilentBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, t.Context(), car())
		p := compile(t, s.cat, rule("burst", "", false, "can0.SPEED.speed"), rule("grid", "1s", false, "can0.SPEED.speed"))
		p.Rules[0].Window = &campaign.Window{Pre: time.Second, Post: 3 * time.Second, Trigger: hard{}}
		s.c.Load(p)
		s.feed(speed(0.2, 1, 99))
		time.Sleep(time.Minute)
		synctest.Wait()
		s.take()
		if len(s.open) != 1 || s.open[0].Rule != "grid" {
			t.Errorf("got %d open captures, want that of the grid", len(s.open))
		}
		if len(s.order) != 2 {
			t.Fatalf("got %d captures, want 2", len(s.order))
		}
		for _, c := range s.order {
			if c.Rule == "grid" {
				s.want(c, "speed", "1@1")
			}
		}
		s.end()
	})
}

// TestTruncated: a row that is shorter than its message brings another schema, and so another capture, once.
func TestTruncated(t *testing.T) {
	s := newStage(t, t.Context(), car())
	s.c.Load(compile(t, s.cat, rule("all", "", false), rule("fix", "", false, "gnss0.*.*")))
	s.feed(speed(0, 1, 2))
	s.feed(row{shortSpeed, 1, []int64{3}}, speed(2, 4, 5), row{shortSpeed, 3, []int64{6}})
	s.end()
	if len(s.order) != 2 || len(s.saved) != 1 {
		t.Fatalf("got %d captures and %d schemas saved, want 2 and 1", len(s.order), len(s.saved))
	}
	s.want(s.order[0], "speed", "1@0")
	s.want(s.order[1], "speed", "3@1", "4@2", "6@3")
	s.want(s.order[1], "brake", "5@2")
	if a, b := s.order[0], s.order[1]; a.Hash == b.Hash || len(a.Schema.Signals) != len(b.Schema.Signals) || s.saved[b.Hash] != 1 {
		t.Error("got schemas that differ in something else than their groups")
	}
}

// TestTruncatedRefused: while the disk refuses the schema collecting waits for it; after the end the rows are left out and counted.
func TestTruncatedRefused(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newStage(t, ctx, car())
	s.refuse = errors.New("no space left on device")
	s.c.Load(compile(t, s.cat, rule("all", "", false)))
	cancel()
	s.feed(row{shortSpeed, 1, []int64{3}}, row{shortSpeed, 2, []int64{3}}, speed(3, 1, 2))
	s.end()
	if got := s.c.Stats().LeftOut; got != 2 {
		t.Errorf("got %d rows left out, want 2", got)
	}
	s.want(s.order[0], "speed", "1@3")
}

// TestSwap: each row is collected by the program of its own catalogue, also while another one waits, and none is lost.
func TestSwap(t *testing.T) {
	old, now := car(), car()
	now.Groups[speedGroup], now.Groups[fixGroup] = now.Groups[fixGroup], now.Groups[speedGroup] // other numbers
	s := newStage(t, t.Context(), old)
	s.c.Load(compile(t, old, rule("all", "", false), rule("grid", "1m", false)))
	s.feed(speed(0, 1, 2))
	s.c.Load(compile(t, car(), rule("never", "", false))) // no row of this one ever comes
	s.c.Load(compile(t, now, rule("all", "", false)))
	s.feed(speed(1, 3, 4)) // was decoded before
	s.cat = now
	s.feed(row{fixGroup, 2, []int64{5, 6}})
	s.feed(row{speedGroup, 3, []int64{7}})
	s.end()
	if len(s.order) != 3 {
		t.Fatalf("got %d captures, want 3", len(s.order))
	}
	var all []*collect.Capture
	for _, c := range s.order {
		if c.Rule == "grid" {
			s.want(c, "speed", "3@1") // cut short
		} else {
			all = append(all, c)
		}
	}
	s.want(all[0], "speed", "1@0", "3@1")
	s.want(all[1], "speed", "5@2")
	s.want(all[1], "latitude", "7@3")
}
