package fleet

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// group counts for the normal vehicles, or for the flooding ones.
type group struct {
	flooding  bool
	published atomic.Uint64
	acked     atomic.Uint64 // with success
	refused   [256]atomic.Uint64
	latency   Histogram // of those acked with success
}

func (l *group) acknowledge(code byte, latency time.Duration) {
	if code >= refusedFrom {
		l.refused[code].Add(1)
		return
	}
	l.acked.Add(1)
	l.latency.Record(latency)
}

func (l *group) refusals() (n uint64) {
	for i := range l.refused {
		n += l.refused[i].Load()
	}
	return n
}

// mark is where the count stood when publishing ended.
type mark struct {
	at        time.Duration
	connected int
	acked     [2]uint64
}

func (r *run) mark() *mark {
	return &mark{
		at: r.clock(), connected: int(r.connected.Load()),
		acked: [2]uint64{r.groups[0].acked.Load(), r.groups[1].acked.Load()},
	}
}

// maxErrors bounds how many different errors are told apart.
const maxErrors = 32

// fail counts an error of a connection.
func (r *run) fail(err error) {
	text := cause(err)
	r.mu.Lock()
	if _, ok := r.errors[text]; !ok && len(r.errors) >= maxErrors {
		text = "other"
	}
	r.errors[text]++
	first := r.errors[text] == 1
	r.mu.Unlock()
	if first && r.cfg.Failed != nil {
		r.cfg.Failed(text)
	}
}

// Progress is how a run stands.
type Progress struct {
	Elapsed   time.Duration // since publishing began; negative: it has not
	Connected int
	Published uint64
	Acked     uint64 // with success
	Refused   uint64
	Errors    uint64 // failed and lost connections
	// Of the last second: PUBACKs, and the latencies of normal vehicles.
	Rate     float64
	P50, P99 time.Duration
}

// String is one line.
func (p Progress) String() string {
	when := "connecting"
	if p.Elapsed >= 0 {
		when = fmt.Sprintf("%8.0f s", p.Elapsed.Seconds())
	}
	line := fmt.Sprintf("%s  connected %d  published %d  acked %d  refused %d  %.0f/s  p50 %s  p99 %s",
		when, p.Connected, p.Published, p.Acked, p.Refused, p.Rate, millis(p.P50), millis(p.P99))
	if p.Errors > 0 {
		line += fmt.Sprintf("  errors %d", p.Errors)
	}
	return line
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }

// tell reports once a second.
func (r *run) tell(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var now, before Counts
	last, acked := time.Now(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := r.progress()
		seconds := time.Since(last).Seconds()
		last = time.Now()
		p.Rate, acked = float64(p.Acked-acked)/seconds, p.Acked
		r.groups[0].latency.Load(&now)
		recent := now
		recent.Since(&before)
		before = now
		p.P50, p.P99 = recent.Quantile(0.5), recent.Quantile(0.99)
		r.cfg.Progress(p)
	}
}

func (r *run) progress() Progress {
	p := Progress{Elapsed: -1, Connected: int(r.connected.Load())}
	if began := r.began.Load(); began > 0 {
		p.Elapsed = r.clock() - time.Duration(began)
	}
	for i := range r.groups {
		p.Published += r.groups[i].published.Load()
		p.Acked += r.groups[i].acked.Load()
		p.Refused += r.groups[i].refusals()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.errors {
		p.Errors += n
	}
	return p
}

// Summary is what a run came to.
type Summary struct {
	Vehicles  int     `json:"vehicles"`
	Connected int     `json:"connected"` // when publishing ended
	Seconds   float64 `json:"seconds"`   // of publishing
	// Rate is publishes acknowledged with success a second while publishing.
	Rate     float64           `json:"messages_per_second"`
	Bytes    uint64            `json:"payload_bytes"` // published
	Normal   Outcome           `json:"normal"`
	Flooding *Outcome          `json:"flooding,omitempty"` // when there were flooding vehicles
	Pulse    *Pulse            `json:"pulse,omitempty"`    // when the flooding ones rested now and then
	Errors   map[string]uint64 `json:"errors"`             // of connections, by cause
}

// Latency is from publish to PUBACK, of publishes acked with success, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Pulse holds what normal vehicles saw, by what the flooding ones did when they
// published. Each figure is the median over the phases, so that a stall of the
// machine in one of them does not decide.
type Pulse struct {
	Calm  Latency `json:"calm"`
	Flood Latency `json:"flood"`
}

// Outcome is what became of the publishes of normal vehicles, or of flooding ones.
type Outcome struct {
	Vehicles   int               `json:"vehicles"`
	Rate       float64           `json:"messages_per_second"`
	Published  uint64            `json:"published"`
	Acked      uint64            `json:"acked"`   // with success
	Refused    map[string]uint64 `json:"refused"` // by reason code, such as "0x97"
	Unanswered uint64            `json:"unanswered"`
	Latency
}

func (r *run) summary() *Summary {
	s := &Summary{Vehicles: len(r.cfg.Vehicles), Bytes: r.bytes.Load(), Errors: r.errors}
	m := r.measured.Load()
	if m == nil { // publishing never began
		m = &mark{}
	} else {
		s.Connected = m.connected
		s.Seconds = (m.at - time.Duration(r.began.Load())).Seconds()
	}
	s.Normal = r.groups[0].outcome(len(r.cfg.Vehicles)-r.cfg.Flood, m.acked[0], s.Seconds)
	s.Rate = s.Normal.Rate
	if r.cfg.Flood > 0 {
		o := r.groups[1].outcome(r.cfg.Flood, m.acked[1], s.Seconds)
		s.Flooding = &o
		s.Rate += o.Rate
	}
	if r.cfg.Flood > 0 && r.cfg.Pulse > 0 {
		s.Pulse = &Pulse{Calm: median(r.phases, 0), Flood: median(r.phases, 1)}
	}
	return s
}

// outcome sums up a group that had acked so many publishes when publishing ended.
func (l *group) outcome(vehicles int, acked uint64, seconds float64) Outcome {
	o := Outcome{Vehicles: vehicles, Published: l.published.Load(), Acked: l.acked.Load(), Refused: map[string]uint64{}}
	o.Unanswered = o.Published - o.Acked - l.refusals()
	for code := range l.refused {
		if n := l.refused[code].Load(); n > 0 {
			o.Refused[fmt.Sprintf("0x%02X", code)] = n
		}
	}
	if seconds > 0 {
		o.Rate = float64(acked) / seconds
	}
	o.Latency = l.latency.sum()
	return o
}

func (h *Histogram) sum() Latency {
	var c Counts
	h.Load(&c)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	return Latency{P50: ms(c.Quantile(0.5)), P90: ms(c.Quantile(0.9)), P99: ms(c.Quantile(0.99)), Max: ms(c.Max())}
}

// median takes every second phase from first on, and the median of each figure.
func median(phases []Histogram, first int) (l Latency) {
	var all []Latency
	for i := first; i < len(phases); i += 2 {
		if sum := phases[i].sum(); sum.Max > 0 {
			all = append(all, sum)
		}
	}
	if len(all) == 0 {
		return l
	}
	figure := func(of func(*Latency) float64) float64 {
		values := make([]float64, len(all))
		for i := range all {
			values[i] = of(&all[i])
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	l.P50, l.P90 = figure(func(l *Latency) float64 { return l.P50 }), figure(func(l *Latency) float64 { return l.P90 })
	l.P99, l.Max = figure(func(l *Latency) float64 { return l.P99 }), figure(func(l *Latency) float64 { return l.Max })
	return l
}

// Text writes the summary for a person.
func (s *Summary) Text(w io.Writer) {
	fmt.Fprintf(w, "%d of %d vehicles connected, %.1f s, %.0f messages/s acknowledged, %.1f MB published\n",
		s.Connected, s.Vehicles, s.Seconds, s.Rate, float64(s.Bytes)/1e6)
	s.Normal.write(w, "normal")
	if s.Flooding != nil {
		s.Flooding.write(w, "flooding")
	}
	if s.Pulse != nil {
		fmt.Fprintf(w, "  %-9sPUBACK after %s\n", "calm", s.Pulse.Calm.text())
		fmt.Fprintf(w, "  %-9sPUBACK after %s\n", "flood", s.Pulse.Flood.text())
	}
	for _, e := range slices.Sorted(maps.Keys(s.Errors)) {
		fmt.Fprintf(w, "  error  %d times: %s\n", s.Errors[e], e)
	}
}

func (o *Outcome) write(w io.Writer, name string) {
	var refused strings.Builder
	for _, code := range slices.Sorted(maps.Keys(o.Refused)) {
		fmt.Fprintf(&refused, "  %s × %d", code, o.Refused[code])
	}
	if refused.Len() == 0 {
		refused.WriteString("  none")
	}
	fmt.Fprintf(w, "  %-9s%d vehicles, %d published, %d acked, %d unanswered, refused:%s\n",
		name, o.Vehicles, o.Published, o.Acked, o.Unanswered, refused.String())
	fmt.Fprintf(w, "  %-9sPUBACK after %s; %.0f messages/s\n", "", o.Latency.text(), o.Rate)
}

func (l *Latency) text() string {
	return fmt.Sprintf("p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms", l.P50, l.P90, l.P99, l.Max)
}
