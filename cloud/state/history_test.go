package state_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol/batches"
)

func history(t interface {
	Helper()
	Fatal(...any)
}, s *state.States) []state.Point {
	t.Helper()
	points, ok := s.History(car, key(0))
	if !ok {
		t.Fatal("got no history")
	}
	return points
}

// checkHistory: in order, spaced, and not too many.
func checkHistory(t interface {
	Helper()
	Errorf(string, ...any)
}, points []state.Point) {
	t.Helper()
	if len(points) > 300+120+96 {
		t.Errorf("got %d points, want at most 516", len(points))
	}
	for i := 1; i < len(points); i++ {
		if d := points[i].Time - points[i-1].Time; d < state.HistorySpacing.Microseconds() {
			t.Errorf("got points %d µs apart, want at least %v", d, state.HistorySpacing)
		}
	}
}

func TestHistory(t *testing.T) {
	s := state.New()
	for i := range 2000 { // 10 Hz
		s.Apply(car, schema(1), one(at(float64(i)/10), int64(i)), noon, false)
	}
	points := history(t, s)
	checkHistory(t, points)
	if len(points) != 200 || points[0] != (state.Point{Time: at(0)}) || points[199] != (state.Point{Time: at(199), Value: 995}) {
		t.Errorf("got %d points from %+v to %+v, want one a second for 200 s", len(points), points[0], points[len(points)-1])
	}
	if _, ok := s.History(car, key(9)); ok {
		t.Error("got a history of a signal that nobody knows")
	}
}

// TestDay: of a signal that comes each second for two days, the last day is kept, the finer the newer.
func TestDay(t *testing.T) {
	s := state.New()
	const seconds = 2 * 24 * 3600
	for i := range seconds {
		s.Apply(car, schema(1), one(at(float64(i)), int64(i)), noon.Add(seconds*time.Second), false)
	}
	points := history(t, s)
	checkHistory(t, points)
	step := func(i int) time.Duration { return time.Duration(points[i+1].Time-points[i].Time) * time.Microsecond }
	for i := range len(points) - 1 {
		want := time.Second
		switch {
		case i < 95:
			want = 15 * time.Minute
		case i == 95, i == 95+120: // between two tiers
			continue
		case i < 95+120:
			want = 30 * time.Second
		}
		if step(i) != want {
			t.Errorf("got points %d and %d %v apart, want %v", i, i+1, step(i), want)
		}
	}
	if age := points[len(points)-1].Time - points[0].Time; len(points) != 516 || age < (24*time.Hour).Microseconds() {
		t.Errorf("got %d points over %v, want 516 over a day", len(points), time.Duration(age)*time.Microsecond)
	}
	for _, late := range []float64{seconds - 400.5, 0, 1} { // within the day, and before it
		s.Apply(car, schema(1), one(at(late), 1), noon.Add(seconds*time.Second), false)
	}
	if again := history(t, s); again[0] != points[0] {
		t.Errorf("got the oldest point %+v after late data of two days ago, want %+v", again[0], points[0])
	}
}

// TestLateHistory: late points fill gaps.
func TestLateHistory(t *testing.T) {
	s := state.New()
	apply := func(seconds float64) { s.Apply(car, schema(1), one(at(seconds), 1), noon, false) }
	for _, seconds := range []float64{10, 20, 15, 15.5, 14.2, 5, 9.5, 20.9, 21} {
		apply(seconds)
	}
	want := []int64{at(5), at(10), at(15), at(20), at(21)}
	var got []int64
	for _, p := range history(t, s) {
		got = append(got, p.Time)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// model is a naive state of one signal.
type model struct {
	time, raw int64
}

func (m *model) apply(t, raw int64) {
	if t >= m.time {
		m.time, m.raw = t, raw
	}
}

// TestAgainstModel holds the state against samples applied one by one, whatever order
// rows come in and whichever of them are present.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m := state.New(), model{time: -1}
		samples := map[int64]bool{}
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			b := drawBatch(t)
			s.Apply(car, schema(1), b, noon, rapid.Bool().Draw(t, "report"))
			g := &b.Rows[0]
			order := make([]int, len(g.Time))
			for i := range order {
				order[i] = i
			}
			slices.SortStableFunc(order, func(a, b int) int { return int(g.Time[a] - g.Time[b]) })
			for _, row := range order {
				if g.Has(0, row) {
					m.apply(g.Time[row], g.Columns[0][row])
					samples[g.Time[row]] = true
				}
			}
		}
		if len(samples) == 0 {
			return
		}
		if v := s.Values(car)[0]; v.Time != m.time || v.Raw != m.raw {
			t.Fatalf("got %d at %d, want %d at %d", v.Raw, v.Time, m.raw, m.time)
		}
		points := history(t, s)
		checkHistory(t, points)
		checkCovered(t, points, samples)
	})
}

// checkCovered: every point is a sample, and no sample could be added: each has a point within the
// spacing or, when it is older than the newest 300 points, in the same step of 30 s.
func checkCovered(t *rapid.T, points []state.Point, samples map[int64]bool) {
	for _, p := range points {
		if !samples[p.Time] {
			t.Fatalf("got a point at %d, where no sample is", p.Time)
		}
	}
	const step = 30_000_000
	for sample := range samples {
		nearest, inStep := int64(math.MaxInt64), false
		for _, p := range points {
			nearest = min(nearest, max(p.Time-sample, sample-p.Time))
			inStep = inStep || p.Time/step == sample/step
		}
		old := len(points) > 300 && sample < points[len(points)-300].Time+step
		if nearest >= state.HistorySpacing.Microseconds() && !(old && (inStep || nearest < step)) {
			t.Fatalf("got no point within %v of the sample at %d", state.HistorySpacing, sample)
		}
	}
}

func drawBatch(t *rapid.T) *batches.Batch {
	n := rapid.IntRange(1, 400).Draw(t, "rows")
	start := at(float64(rapid.IntRange(0, 600).Draw(t, "start")))
	step := rapid.Int64Range(1, 3_000_000).Draw(t, "step")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	times, raw := make([]int64, n), make([]int64, n)
	for i := range n {
		times[i], raw[i] = start+int64(i)*step+r.Int64N(step), r.Int64N(1000)
	}
	if rapid.Bool().Draw(t, "shuffle") {
		r.Shuffle(n, func(i, j int) { times[i], times[j] = times[j], times[i] })
	}
	if !rapid.Bool().Draw(t, "on change") {
		return column(0, 1, times, raw, nil)
	}
	present := make([]uint64, (n+63)/64)
	density := r.IntN(100)
	for i := range n {
		if r.IntN(100) < density {
			present[i/64] |= 1 << (i % 64)
		}
	}
	return column(0, 1, times, raw, present)
}
