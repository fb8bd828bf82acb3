package collect_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/collect"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/signal"
)

// second is a second of source time; start is when the tests' rows begin, µs.
const (
	second = int64(1_000_000)
	start  = 1_700_000_000 * second
)

// car is a catalogue of two sources: SPEED and PAGES on can0, whose Page two groups carry, and fix of gnss0.
func car() *signal.Catalogue {
	s := func(kind signal.Kind, bus, message, name string, start int) signal.Signal {
		out := signal.Signal{Kind: kind, Bus: bus, Message: message, Name: name}
		if kind == signal.CAN {
			out.CAN = &signal.Bits{Start: start, Length: 8}
		}
		return out
	}
	return &signal.Catalogue{
		Sources:  []signal.Source{{Kind: signal.CAN, Name: "can0"}, {Kind: signal.GNSS, Name: "gnss0"}},
		Messages: []signal.Message{{Source: 0, Name: "SPEED", First: 0, Count: 2}, {Source: 0, Name: "PAGES", First: 2, Count: 3}, {Source: 1, Name: "fix", First: 5, Count: 1}},
		Signals: []signal.Signal{
			s(signal.CAN, "can0", "SPEED", "speed", 0), s(signal.CAN, "can0", "SPEED", "brake", 8),
			s(signal.CAN, "can0", "PAGES", "Page", 0), s(signal.CAN, "can0", "PAGES", "heat", 8), s(signal.CAN, "can0", "PAGES", "level", 16),
			s(signal.GNSS, "gnss0", "fix", "latitude", 0),
		},
		Groups: []signal.Group{
			speedGroup: {Message: 0, Signals: []int32{0, 1}}, shortSpeed: {Message: 0, Short: true, Signals: []int32{0}},
			heatGroup: {Message: 1, Signals: []int32{2, 3}}, levelGroup: {Message: 1, Signals: []int32{2, 4}},
			fixGroup: {Message: 2, Signals: []int32{5}},
		},
	}
}

// The groups of car.
const (
	speedGroup = iota
	shortSpeed
	heatGroup
	levelGroup
	fixGroup
)

// rule is a campaign of one rule with the given id and paths; none means all.
func rule(id, every string, onChange bool, paths ...string) campaigns.Campaign {
	c := campaigns.Everything()
	c.Metadata.ID = protocol.CampaignID(id)
	c.Spec.Collect = []campaigns.Rule{{ID: id, Every: every, OnChange: onChange}}
	for i, p := range paths {
		if c.Spec.Signals == nil {
			c.Spec.Signals = map[string]campaigns.SignalSelector{}
		}
		c.Spec.Signals[fmt.Sprint("s", i)] = campaigns.SignalSelector{Path: p}
	}
	return c
}

// compile makes a program.
func compile(t testing.TB, cat *signal.Catalogue, set ...campaigns.Campaign) *campaign.Program {
	t.Helper()
	p, err := campaign.Compile(cat, set)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// value is what a capture got of one signal.
type value struct {
	signal string
	time   int64 // µs after start
	raw    int64
}

// stage is a Collector that runs, and what came out of it.
type stage struct {
	t       testing.TB
	c       *collect.Collector
	cat     *signal.Catalogue
	in      chan *signals.Block
	out     chan *collect.Block
	ended   chan struct{}
	order   []*collect.Capture // in the order in which they were seen first
	got     map[*collect.Capture][]value
	open    []*collect.Capture // as of the last block
	saved   map[protocol.SchemaHash]int
	refuse  error // of Save
	blocks  int
	account collect.Account // of the last block
}

func newStage(t testing.TB, ctx context.Context, cat *signal.Catalogue) *stage {
	s := &stage{t: t, cat: cat, in: make(chan *signals.Block), out: make(chan *collect.Block, 1000), ended: make(chan struct{}),
		got: map[*collect.Capture][]value{}, saved: map[protocol.SchemaHash]int{}}
	s.c = collect.New(collect.Config{Release: func(*signals.Block) {}, Log: slog.New(slog.DiscardHandler),
		Save: func(h protocol.SchemaHash, _ []byte) error {
			if s.refuse == nil {
				s.saved[h]++
			}
			return s.refuse
		}})
	go func() { s.c.Run(ctx, s.in, s.out); close(s.ended) }()
	return s
}

// row makes one of the catalogue's group, seconds after start.
type row struct {
	group int32
	at    float64
	raw   []int64
}

// feed sends rows in one block whose newest frame is at the last one's time, and takes what comes of it.
func (s *stage) feed(rows ...row) {
	b := &signals.Block{Catalogue: s.cat}
	for _, r := range rows {
		b.Now = start + int64(r.at*float64(second))
		b.Rows = append(b.Rows, signals.Row{Time: b.Now, Group: r.group, Offset: int32(len(b.Raw)), Count: int32(len(r.raw))})
		b.Raw = append(b.Raw, r.raw...)
	}
	s.account.Received += uint64(len(rows))
	b.Account.CopyFrom(&s.account)
	s.in <- b
	for handled := false; !handled; {
		out := <-s.out
		handled = out.Account.Received == s.account.Received
		s.handle(out)
	}
}

// load puts another program of the same catalogue in force, and takes what comes of it.
func (s *stage) load(p *campaign.Program) {
	s.c.Load(p)
	s.handle(<-s.out)
}

// end closes the stage and takes what is left.
func (s *stage) end() {
	s.t.Helper()
	close(s.in)
	<-s.ended
	s.take()
}

// take looks at what has come out.
func (s *stage) take() {
	for {
		select {
		case b, ok := <-s.out:
			if !ok {
				return
			}
			s.handle(b)
		default:
			return
		}
	}
}

func (s *stage) handle(b *collect.Block) {
	s.blocks++
	s.open = b.Captures
	for i := range b.Rows {
		s.note(b, &b.Rows[i])
	}
	s.c.Release(b)
}

func (s *stage) note(b *collect.Block, r *collect.Row) {
	c := b.Captures[r.Capture]
	if _, seen := s.got[c]; !seen {
		s.order = append(s.order, c)
	}
	bits := b.Bitmap(r)
	for i, raw := range b.Values(r) {
		if bits == nil || bits[i/64]>>(i%64)&1 == 1 {
			s.got[c] = append(s.got[c], value{c.Schema.Signals[c.Schema.Groups[r.Group][i]].Name, r.Time - start, raw})
		}
	}
}

// of gives the values of a signal in a capture as "raw@second".
func (s *stage) of(c *collect.Capture, name string) (list []string) {
	for _, v := range s.got[c] {
		if v.signal == name {
			list = append(list, fmt.Sprintf("%d@%g", v.raw, float64(v.time)/float64(second)))
		}
	}
	return list
}

func (s *stage) want(c *collect.Capture, name string, want ...string) {
	s.t.Helper()
	if got := s.of(c, name); !slices.Equal(got, want) {
		s.t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

// speed makes a row of speed with brake.
func speed(at float64, v, brake int64) row { return row{speedGroup, at, []int64{v, brake}} }
