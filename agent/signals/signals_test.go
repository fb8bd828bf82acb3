package signals_test

import (
	"slices"
	"sync"
	"testing"

	"telltale.dev/agent/frames"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/j1939"
	"telltale.dev/protocol/signal"
)

// cars are two plans of the same signals; in the second they have other positions, and can1 has one more.
func cars(t testing.TB) (first, second *dbc.Plan) {
	t.Helper()
	parse := func(text string) *dbc.File {
		file, _, err := dbc.Parse("car.dbc", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	a := parse("BO_ 1 A: 8 X\n SG_ a : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ b : 8|8@1- (1,0) [0|0] \"\" X\n")
	b := parse("BO_ 2 B: 8 X\n SG_ c : 0|16@1+ (1,0) [0|0] \"\" X\n")
	more := parse("BO_ 3 C: 8 X\n SG_ d : 0|8@1+ (1,0) [0|0] \"\" X\n")
	compile := func(sources ...dbc.Source) *dbc.Plan {
		plan, _, err := dbc.Compile(sources)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	first = compile(dbc.Source{Bus: "can0", Files: []*dbc.File{a}}, dbc.Source{Bus: "can1", Files: []*dbc.File{b}})
	second = compile(dbc.Source{Bus: "can1", Files: []*dbc.File{more, b}}, dbc.Source{Bus: "can0", Files: []*dbc.File{a}})
	return first, second
}

var inputs = []string{"can0", "can1", "can2"}

func frame(at int64, id can.ID, data ...byte) can.Frame {
	f := can.Frame{Time: at, ID: id, Len: uint8(len(data))}
	copy(f.Data[:], data)
	return f
}

// named gives the values of a block by name, in order.
func named(b *signals.Block) (names []string, values []int64) {
	for i := range b.Rows {
		r := &b.Rows[i]
		for k, s := range b.Catalogue.Groups[r.Group].Signals {
			names, values = append(names, b.Catalogue.Signals[s].Name), append(values, b.Values(r)[k])
		}
	}
	return names, values
}

// TestDecode: rows have the time and values of their frames, and each frame is counted once, decoded or not.
func TestDecode(t *testing.T) {
	plan, _ := cars(t)
	catalogue := plan.Catalogue()
	d := signals.New(plan, catalogue, inputs, func(*frames.Block) {})
	var b signals.Block
	tests := []struct {
		name   string
		in     frames.Block
		names  []string
		values []int64
		want   signals.Account
		now    int64
	}{
		{"two frames, one unknown", frames.Block{Bus: 0, Received: 3, Frames: []can.Frame{frame(10, 1, 7, 0xFF), frame(11, 9, 1), frame(12, 1, 8, 1)}},
			[]string{"a", "b", "a", "b"}, []int64{7, -1, 8, 1}, signals.Account{Received: 3, Decoded: 2, Unknown: 1, Seen: []uint64{3, 0, 0}}, 12},
		{"truncated, and without a signal", frames.Block{Bus: 0, Received: 5, Frames: []can.Frame{frame(13, 1, 9), frame(14, 1)}},
			[]string{"a"}, []int64{9}, signals.Account{Received: 5, Decoded: 4, Unknown: 1, Seen: []uint64{5, 0, 0}}, 14},
		{"another bus, with losses", frames.Block{Bus: 1, Received: 1, Dropped: 4, Frames: []can.Frame{frame(15, 2, 1, 2)}},
			[]string{"c"}, []int64{513}, signals.Account{Received: 6, Dropped: 4, Decoded: 5, Unknown: 1, Seen: []uint64{5, 5, 0}}, 15},
		{"a bus without a file", frames.Block{Bus: 2, Received: 1, Frames: []can.Frame{frame(16, 1, 1)}},
			nil, nil, signals.Account{Received: 7, Dropped: 4, Decoded: 5, Unknown: 2, Seen: []uint64{5, 5, 1}}, 16},
		{"losses alone", frames.Block{Bus: 1, Received: 1, Dropped: 6},
			nil, nil, signals.Account{Received: 7, Dropped: 6, Decoded: 5, Unknown: 2, Seen: []uint64{5, 7, 1}}, 16},
	}
	for _, test := range tests {
		d.Decode(&test.in, &b)
		names, values := named(&b)
		if !slices.Equal(names, test.names) || !slices.Equal(values, test.values) {
			t.Errorf("%s: got %v %v, want %v %v", test.name, names, values, test.names, test.values)
		}
		if !b.Account.Equal(&test.want) || b.Now != test.now || b.Catalogue != catalogue {
			t.Errorf("%s: got %+v at %d, want %+v at %d", test.name, b.Account, b.Now, test.want, test.now)
		}
		for i := range b.Rows {
			if b.Rows[i].Time < 10 || b.Rows[i].Time > test.now {
				t.Errorf("%s: got time %d", test.name, b.Rows[i].Time)
			}
		}
	}
	again := frames.Block{Bus: 0, Frames: slices.Repeat([]can.Frame{frame(20, 1, 7, 1)}, 256)}
	d.Decode(&again, &b)
	if allocs := testing.AllocsPerRun(100, func() { d.Decode(&again, &b) }); allocs > 0 {
		t.Errorf("got %v allocations a block, want none", allocs)
	}
}

// longCar has a J1939 message of 20 bytes and one of 8 on can0, and no J1939 on can1.
func longCar(t testing.TB) *dbc.Plan { return carOf(t, true) }

func carOf(t testing.TB, long bool) *dbc.Plan {
	t.Helper()
	file, _, err := dbc.Parse("car.dbc", []byte("BO_ 2566834942 Long: 20 X\n SG_ count : 16|8@1+ (1,0) [0|0] \"\" X\n SG_ last : 152|8@1+ (1,0) [0|0] \"\" X\nBO_ 2566835198 Short: 8 X\n SG_ s : 0|8@1+ (1,0) [0|0] \"\" X\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}, J1939: long}, {Bus: "can1", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// parts are the frames of a message of 20 bytes to all, 50 ms apart.
func parts(at int64) []can.Frame {
	return []can.Frame{
		frame(at, 0x98ECFF00, 0x20, 20, 0, 3, 0xFF, 0xCA, 0xFE, 0),
		frame(at+50_000, 0x98EBFF00, 1, 1, 2, 3, 4, 5, 6, 7),
		frame(at+100_000, 0x98EBFF00, 2, 8, 9, 10, 11, 12, 13, 14),
		frame(at+150_000, 0x98EBFF00, 3, 15, 16, 17, 18, 19, 20, 0xFF),
	}
}

// TestLongMessages: a J1939 message in parts makes one row with the time of its last frame, over several blocks, on its own bus
// only, and none when frames may be missing.
func TestLongMessages(t *testing.T) {
	plan := longCar(t)
	d := signals.New(plan, plan.Catalogue(), inputs, func(*frames.Block) {})
	var b signals.Block
	got := func(bus int, gap bool, list ...can.Frame) (values []int64) {
		d.Decode(&frames.Block{Bus: bus, Frames: list, Gap: gap}, &b)
		for i := range b.Rows {
			values = append(append(values, b.Rows[i].Time), b.Values(&b.Rows[i])...)
		}
		return values
	}
	check := func(what string, got []int64, want ...int64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got times and values %v, want %v", what, got, want)
		}
	}
	all := parts(1000)
	check("in one block", got(0, true, all...), 151_000, 3, 20)
	check("between others", got(0, false, all[0], frame(5, 0x98FECB00, 7), all[1], all[2], all[3], frame(6, 0x98FECB00, 8)), 5, 7, 151_000, 3, 20, 6, 8)
	check("the beginning", got(0, false, all[:2]...))
	check("another bus", got(1, false, all...))
	check("the end", got(0, false, all[2:]...), 151_000, 3, 20)
	check("the beginning", got(0, false, all[:2]...))
	check("behind a gap", got(0, true, all[2:]...))
	counts := d.Long()
	if c := counts[0]; c.Complete != 3 || c.Incomplete[j1939.FramesLost] != 1 || c.Stray != 2 || counts[1].Complete+counts[1].Stray > 0 {
		t.Errorf("got %+v", counts)
	}
	check("the beginning", got(0, false, all[:2]...))
	d.Swap(longCar(t), plan.Catalogue())
	check("by another plan with the message", got(0, false, all[2:]...), 151_000, 3, 20)
	check("the beginning", got(0, false, all[:2]...))
	before := d.Long()[0]
	short := carOf(t, false)
	d.Swap(short, short.Catalogue())
	got(0, false, all[2:]...)
	d.Swap(longCar(t), plan.Catalogue())
	check("a whole message later", got(0, false, all...), 151_000, 3, 20)
	want := before
	want.Complete++
	want.Incomplete[j1939.FramesLost]++ // its end came when nobody looked
	if c := d.Long()[0]; c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
	again := frames.Block{Bus: 0, Frames: slices.Repeat(all, 64)}
	if allocs := testing.AllocsPerRun(100, func() { d.Decode(&again, &b) }); allocs > 0 {
		t.Errorf("got %v allocations a block, want none", allocs)
	}
}

// TestLongInterest: who wants a J1939 message of more than 8 bytes wants the frames that carry its parts, and nobody else does.
func TestLongInterest(t *testing.T) {
	plan := longCar(t)
	wanted := func(name string) (list []bool) {
		for _, s := range plan.Signals() {
			list = append(list, s.Bus == "can0" && s.Name == name)
		}
		return list
	}
	passes := func(i signals.Interest, id can.ID) bool {
		return i.Everything || slices.ContainsFunc(i.Filters, func(f can.Filter) bool { return f.Match(id) })
	}
	for _, test := range []struct {
		name string
		want bool
	}{{"last", true}, {"s", false}} {
		found := signals.Interests(plan, []string{"can0", "can1"}, wanted(test.name))
		for _, id := range []can.ID{0x98ECFF00, 0x9CEC0017, 0x98EB1700} {
			if passes(found[0], id) != test.want || passes(found[1], id) {
				t.Errorf("%s wanted: got %v and %v for %X, want %v on the first bus only", test.name, passes(found[0], id), passes(found[1], id), uint32(id), test.want)
			}
		}
	}
}

// TestAccountCopy: a copy shares no memory.
func TestAccountCopy(t *testing.T) {
	a := signals.Account{Received: 3, Dropped: 1, Decoded: 2, Unknown: 1, Seen: []uint64{4}}
	var b signals.Account
	b.CopyFrom(&a)
	if !b.Equal(&a) {
		t.Errorf("got %+v, want %+v", b, a)
	}
	a.Seen[0]++
	if b.Equal(&a) || b.Seen[0] != 4 {
		t.Error("the copy changed")
	}
}

// TestSwap: frames are decoded by the plan of their time; when none come, a block says that the plan is another one.
func TestSwap(t *testing.T) {
	first, second := cars(t)
	one, two := first.Catalogue(), second.Catalogue()
	d := signals.New(first, one, inputs, func(*frames.Block) {})
	in, out := make(chan *frames.Block), make(chan *signals.Block)
	ended := make(chan error)
	go func() { ended <- d.Run(in, out) }()
	send := func(bus int, f can.Frame) *signals.Block {
		in <- &frames.Block{Bus: bus, Frames: []can.Frame{f}, Received: uint64(f.Time)}
		return <-out
	}
	check := func(b *signals.Block, catalogue *signal.Catalogue, names ...string) {
		t.Helper()
		got, _ := named(b)
		if b.Catalogue != catalogue || !slices.Equal(got, names) {
			t.Errorf("got %v of another catalogue than %v is: %v", got, names, b.Catalogue != catalogue)
		}
	}
	check(send(0, frame(1, 1, 7, 1)), one, "a", "b")
	check(send(1, frame(1, 3, 7)), one) // unknown still
	d.Swap(second, two)
	silent := <-out
	check(silent, two)
	if silent.Now != 1 || silent.Account.Received != 2 {
		t.Errorf("got time %d and %+v", silent.Now, silent.Account)
	}
	check(send(1, frame(2, 3, 7)), two, "d")
	check(send(0, frame(2, 1, 7, 1)), two, "a", "b")
	close(in)
	if _, more := <-out; more {
		t.Error("got a block after the end")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestSwapLosesNothing: however often the plan is replaced while frames come, each frame is decoded once.
func TestSwapLosesNothing(t *testing.T) {
	first, second := cars(t)
	one, two := first.Catalogue(), second.Catalogue()
	released := 0
	d := signals.New(first, one, inputs, func(*frames.Block) { released++ })
	in, out := make(chan *frames.Block, 4), make(chan *signals.Block, 4)
	const blocks, each = 2000, 8
	var all sync.WaitGroup
	all.Go(func() { _ = d.Run(in, out) })
	all.Go(func() {
		defer close(in)
		for i := range blocks {
			b := &frames.Block{Bus: i % 2, Received: uint64((i/2 + 1) * each)}
			for k := range each {
				b.Frames = append(b.Frames, frame(int64(i*each+k), can.ID(1+i%2), byte(k), 0))
			}
			in <- b
			if i%10 == 0 {
				d.Swap(second, two)
			} else if i%10 == 5 {
				d.Swap(first, one)
			}
		}
	})
	var next int64
	seen := map[*signal.Catalogue]int{}
	for b := range out {
		names, values := named(b)
		width := 0
		for i := range b.Rows {
			if b.Rows[i].Time != next {
				t.Fatalf("got a row of frame %d, want %d", b.Rows[i].Time, next)
			}
			if k := next % each; values[width] != k || names[width] != map[bool]string{true: "a", false: "c"}[next/each%2 == 0] {
				t.Fatalf("frame %d: got %s %d", next, names[width], values[width])
			}
			width += int(b.Rows[i].Count)
			next++
			seen[b.Catalogue]++
		}
		if b.Account.Decoded != uint64(next) {
			t.Fatalf("got %d decoded, want %d", b.Account.Decoded, next)
		}
		d.Release(b)
	}
	all.Wait()
	if next != blocks*each || len(seen) != 2 || released != blocks {
		t.Errorf("got %d frames by %d plans, %d blocks released", next, len(seen), released)
	}
}

// TestInterests: inputs have their names, not their positions, in common with a plan.
func TestInterests(t *testing.T) {
	_, plan := cars(t)
	wanted := make([]bool, len(plan.Signals()))
	for i, s := range plan.Signals() {
		wanted[i] = s.Name == "a" || s.Name == "c"
	}
	got := signals.Interests(plan, inputs, wanted)
	if len(got) != 3 || !got[0].Everything || got[1].Everything || len(got[1].Filters) != 1 || got[1].Filters[0] != can.ExactFilter(2) ||
		got[2].Everything || got[2].Filters != nil {
		t.Errorf("got %+v", got)
	}
	for i, in := range signals.Interests(plan, inputs, nil) {
		if in.Everything || in.Filters != nil {
			t.Errorf("%s: got %+v, though nobody wants anything", inputs[i], in)
		}
	}
}
