package batch_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// model says what campaigns want, sample by sample, without rows, groups or batches.
type model struct {
	plan  *dbc.Plan
	rules map[string]*modelRule // by everything that the document says of it
	want  map[sample]int
}

type modelRule struct {
	campaign string
	class    protocol.Priority
	rule     campaigns.Rule
	selected []bool
	last     map[int32]int64
	open     map[int]*modelInterval // by bus
}

type modelInterval struct {
	end, newest int64
	values      map[int32]int64
}

func (m *model) collect(set []campaigns.Campaign) {
	next := map[string]*modelRule{}
	for _, c := range set {
		for _, rule := range c.Spec.Collect {
			key := fmt.Sprint(c.Metadata.ID, c.Spec.Signals, c.Spec.Priority, c.Spec.Encoding, rule)
			if next[key] = m.rules[key]; next[key] != nil {
				continue
			}
			r := &modelRule{campaign: string(c.Metadata.ID), class: c.Class(), rule: rule, last: map[int32]int64{}, open: map[int]*modelInterval{}}
			for _, s := range m.plan.Signals() {
				ok := len(c.Spec.Signals) == 0
				for _, selector := range c.Spec.Signals {
					matched, _ := path.Match(selector.Path, s.Bus+"."+s.Message+"."+s.Name)
					ok = ok || matched
				}
				r.selected = append(r.selected, ok)
			}
			next[key] = r
		}
	}
	for key, r := range m.rules {
		if next[key] == nil {
			m.flush(r)
		}
	}
	m.rules = next
}

func (m *model) flush(r *modelRule) {
	for bus, v := range r.open {
		m.emit(r, v.newest, v.values)
		delete(r.open, bus)
	}
}

func (m *model) emit(r *modelRule, at int64, values map[int32]int64) {
	at -= (at%1000 + 1000) % 1000
	for signal, raw := range values {
		s := m.plan.Signals()[signal]
		m.want[sample{r.campaign, r.rule.ID, s.Bus, s.Message, s.Name, at, raw}]++
	}
}

func (m *model) feed(bus int, list []can.Frame) {
	raw := make([]int64, m.plan.MaxSignals())
	for i := range list {
		if bus >= len(m.plan.Buses()) {
			continue
		}
		f := &list[i]
		layout, n := m.plan.Decode(bus, f, raw)
		if n == 0 {
			continue
		}
		for _, r := range m.rules {
			values := map[int32]int64{}
			for k, signal := range m.plan.Layouts()[layout].Signals {
				if r.selected[signal] {
					values[signal] = raw[k]
				}
			}
			if len(values) > 0 {
				m.row(r, bus, f.Time, values)
			}
		}
	}
	now := list[len(list)-1].Time
	for _, r := range m.rules {
		for bus, v := range r.open {
			if now-2_000_000 >= v.end {
				m.emit(r, v.end, v.values)
				delete(r.open, bus)
			}
		}
	}
}

func (m *model) row(r *modelRule, bus int, at int64, values map[int32]int64) {
	switch {
	case r.rule.OnChange:
		for signal, v := range values {
			if last, ok := r.last[signal]; ok && last == v {
				delete(values, signal)
			}
			r.last[signal] = v
		}
		m.emit(r, at, values)
	case r.rule.Every != "":
		step := r.rule.Interval().Microseconds()
		v := r.open[bus]
		if v != nil && at >= v.end {
			m.emit(r, v.end, v.values)
			v = nil
		} else if v != nil && at < v.end-2*step {
			m.emit(r, v.newest, v.values)
			v = nil
		}
		if v == nil {
			v = &modelInterval{end: at - ((at%step)+step)%step + step, newest: at, values: map[int32]int64{}}
			r.open[bus] = v
		}
		v.newest = max(v.newest, at)
		maps.Copy(v.values, values)
	default:
		m.emit(r, at, values)
	}
}

// unreliable is a real buffer whose disk refuses now and then.
type unreliable struct {
	*buffer.Buffer
	refuse func() bool
}

var errDisk = errors.New("no space left on device")

func (u unreliable) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	if u.refuse() {
		return errDisk
	}
	return u.Buffer.Commit(sealed, open, p)
}

var patterns = []string{"*.*.*", "can0.*.*", "can1.*.*", "*.WHEEL_SPEEDS.*", "can0.[A-G]*.*", "*.*.*SPEED*", "can?.STEER*.*", "*.*.CHECKSUM", "*.PAGES.*", "*.*.Page", "*.*.[HP]*"}

func drawCampaigns(t *rapid.T) (set []campaigns.Campaign) {
	for i := range rapid.IntRange(0, 3).Draw(t, "campaigns") {
		c := campaigns.Everything()
		c.Metadata.ID = protocol.CampaignID(fmt.Sprintf("c%d", i))
		c.Spec.Collect = nil
		if rapid.Bool().Draw(t, "some") {
			c.Spec.Signals = map[string]campaigns.SignalSelector{"s": {Path: rapid.SampledFrom(patterns).Draw(t, "path")}}
		}
		c.Spec.Priority = rapid.SampledFrom([]string{"", "CS0", "CS4", "CS6"}).Draw(t, "priority")
		c.Spec.Encoding.Batch.Bytes = rapid.SampledFrom([]string{"", "1KiB", "4KiB"}).Draw(t, "bytes")
		c.Spec.Encoding.Batch.Age = rapid.SampledFrom([]string{"", "100ms", "1h"}).Draw(t, "age")
		for k := range rapid.IntRange(1, 2).Draw(t, "rules") {
			rule := campaigns.Rule{ID: fmt.Sprintf("r%d", k)}
			switch rapid.IntRange(0, 2).Draw(t, "mode") {
			case 1:
				rule.OnChange = true
			case 2:
				rule.Every = rapid.SampledFrom([]string{"1ms", "100ms", "1s", "24h"}).Draw(t, "every")
			}
			c.Spec.Collect = append(c.Spec.Collect, rule)
		}
		set = append(set, c)
	}
	return set
}

// drawFrames takes a run of the recording's frames and plays tricks on some of them.
func drawFrames(t *rapid.T, r *recording, at []int, offset *int64) (bus int, list []can.Frame) {
	bus = rapid.IntRange(0, len(inputs)-1).Draw(t, "bus")
	n := rapid.IntRange(1, 256).Draw(t, "frames")
	if at[bus]+n > len(r.frames[bus]) {
		at[bus] = 0
	}
	list = slices.Clone(r.frames[bus][at[bus] : at[bus]+n])
	at[bus] += n
	switch rapid.IntRange(0, 9).Draw(t, "trick") {
	case 0: // truncated
		i := rapid.IntRange(0, n-1).Draw(t, "short")
		list[i].Len = uint8(rapid.IntRange(0, 8).Draw(t, "bytes left"))
	case 1: // the clock is set
		const year = 365 * 24 * 3600 * 1_000_000
		*offset += rapid.SampledFrom([]int64{50 * year, -50 * year, -80 * year, 3_000_000, -3_000_000, -500_000}).Draw(t, "jump")
	case 2: // one frame from nowhere
		list[rapid.IntRange(0, n-1).Draw(t, "outlier")].Time -= rapid.SampledFrom([]int64{1 << 51, -(1 << 51), 10_000_000}).Draw(t, "by")
	}
	for i := range list {
		list[i].Time += *offset
	}
	return bus, list
}

// TestEverySampleOnce: whatever comes from the buses, whatever campaigns say
// and however often they change, the batches hold exactly what was wanted.
func TestEverySampleOnce(t *testing.T) {
	if err := flag.Set("rapid.checks", "40"); err != nil {
		t.Fatal(err)
	}
	r := rav4()
	rapid.Check(t, func(rt *rapid.T) { everySampleOnce(t, rt, r) })
}

func everySampleOnce(t *testing.T, rt *rapid.T, r *recording) {
	dir, err := os.MkdirTemp(t.TempDir(), "buffer")
	if err != nil {
		t.Fatal(err)
	}
	b, err := buffer.Open(buffer.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	refusals := rapid.IntRange(0, 3).Draw(rt, "refusals")
	store := unreliable{b, func() bool { refusals--; return refusals >= 0 && refusals%2 == 0 }}
	boot := protocol.BootID{1}
	sealer := batch.New(batch.Config{Vehicle: "car", Device: "tcu", Boot: boot, Store: store, Log: slog.New(slog.DiscardHandler),
		CommitUrgent: rapid.SampledFrom([]time.Duration{20 * time.Millisecond, time.Second}).Draw(rt, "urgent"),
		CommitBulk:   rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 10 * time.Second}).Draw(rt, "bulk"),
	})
	p := newPipeline(t, r, func(block *collect.Block) {
		if err := sealer.Add(t.Context(), block); err != nil {
			t.Fatal(err)
		}
	})
	m := &model{plan: r.plan, want: map[sample]int{}}
	at, offset, received := make([]int, len(inputs)), int64(0), uint64(0)
	for range rapid.IntRange(1, 25).Draw(rt, "steps") {
		if rapid.IntRange(0, 4).Draw(rt, "step") == 0 {
			set := drawCampaigns(rt)
			p.collect(set...)
			m.collect(set)
			continue
		}
		bus, list := drawFrames(rt, r, at, &offset)
		p.feed(bus, list)
		m.feed(bus, list)
		received += uint64(len(list))
	}
	p.end()
	for _, rule := range m.rules {
		m.flush(rule)
	}
	if err := sealer.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	compare(rt, p, m, records(t, b))
	boots := b.Boots()
	if received == 0 && len(boots) == 0 {
		return
	}
	if got := boots[0]; got.Received != received || got.Received != got.Decoded+got.Unknown || got.Seen[0]+got.Seen[1]+got.Seen[2]+got.Seen[3] != received {
		rt.Errorf("account: got %+v, want %d frames received", got, received)
	}
}

// compare checks the samples, and that sequences have no gap.
func compare(rt *rapid.T, p *pipeline, m *model, recs []buffer.Record) {
	got := map[sample]int{}
	var seqs []int
	for i := range recs {
		seqs = append(seqs, int(recs[i].ID.Seq))
		for _, s := range p.decode(&recs[i]) {
			got[s]++
		}
	}
	sort.Ints(seqs)
	for i, seq := range seqs {
		if seq != i+1 {
			rt.Fatalf("sequences %v: expected no gap", seqs)
		}
	}
	maps.DeleteFunc(m.want, func(s sample, _ int) bool { return s.time < 0 }) // no lake keeps what was before 1970
	if maps.Equal(got, m.want) {
		return
	}
	var wrong []string
	for s, n := range m.want {
		if got[s] != n {
			wrong = append(wrong, fmt.Sprintf("%+v: got %d times, want %d", s, got[s], n))
		}
	}
	for s, n := range got {
		if m.want[s] == 0 {
			wrong = append(wrong, fmt.Sprintf("%+v: got %d times, want none", s, n))
		}
	}
	slices.Sort(wrong)
	rt.Fatalf("%d samples differ, such as\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 5)], "\n"))
}
