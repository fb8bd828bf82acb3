package batches_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

// TestClaimOfRecordings: what a payload claims is what it holds, and every recording keeps
// to the bounds, sealed each 10 s, each minute, or only when it must be.
func TestClaimOfRecordings(t *testing.T) {
	for _, name := range names {
		for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange} {
			for _, age := range []time.Duration{10 * time.Second, time.Minute} {
				t.Run(name+" "+string(mode)+" "+age.String(), func(t *testing.T) {
					r := load(t, name)
					s, id := r.schema(t, mode)
					rows := r.rows
					if mode == protocol.ModeOnChange {
						rows = r.changes(s)
					}
					e := batches.NewEncoder(s, id)
					drive(e, rows, age, func() {
						b, payload := recode(t, e, s)
						checkClaim(t, e, b, payload, s)
						e.Reset()
					})
				})
			}
		}
	}
}

func checkClaim(t *testing.T, e *batches.Encoder, b *batches.Batch, payload []byte, s *schemas.Schema) {
	t.Helper()
	own := e.Claim()
	c, err := batches.Measure(payload)
	if err == nil {
		err = errors.Join(c.Check(s.Tick, len(payload)), own.Check(s.Tick, len(payload)))
	}
	if err != nil {
		t.Fatalf("the batch is refused: %v", err)
	}
	if c.Samples != b.Samples() || c.Samples != own.Samples || c.Rows != own.Rows || c.Cells != own.Cells {
		t.Errorf("got %+v, the encoder says %+v, and %d samples were decoded", c, own, b.Samples())
	}
	if c.Cells <= batches.MaxCellRate {
		return
	}
	first, last := b.Rows[0].Time[0], b.Rows[0].Time[0]
	for _, g := range b.Rows {
		for _, at := range g.Time {
			first, last = min(first, at), max(last, at)
		}
	}
	if want := uint64(last-first) / uint64(s.Tick); c.Span != want || own.Span > c.Span {
		t.Errorf("got a span of %d ticks, the encoder says %d, want %d", c.Span, own.Span, want)
	}
}

// TestClaimRefused: few bytes that claim much are refused, in little memory and for a reason that says what is allowed.
func TestClaimRefused(t *testing.T) {
	columns := func(rows uint64, times any, column any, n int) []byte {
		group := []any{0, rows, times}
		for range n {
			group = append(group, column)
		}
		return batchOf(t, group)
	}
	line := []byte{0x30, 0, 0x80, 0x80, 0xF4, 0x03} // a row each 62.5 ticks
	for name, c := range map[string]struct {
		payload []byte
		want    string
	}{
		"constants":             {columns(1<<20, line, 7, 4), "values, expected at most 1048576"},
		"coded constants":       {columns(1<<19, line, []byte{0, 14}, 4), "expected at most 1048576"},
		"nulls":                 {columns(1<<20, line, nil, 2), "expected at most 1048576"},
		"many a byte":           {columns(1<<17, line, 7, 1), "a byte"},
		"no time":               {columns(1<<15, 0, 7, 2), "a byte"},
		"more gaps than bytes":  {columns(1<<10, line, []byte{0x41, 0xFF, 0x07, 0, 0}, 1), "gap"},
		"bitmap cut short":      {columns(1<<10, line, []byte{0x40, 0xFF}, 1), "bitmap"},
		"more rows than any":    {columns(1<<40, line, 7, 1), "rows of 1 columns"},
		"group cut short":       {batchOf(t, []any{0, 5}), "at least three"},
		"sixteen million nulls": {batchOf(t, []any{0, 1 << 20, line, nil}, []any{1, 1 << 20, line, nil}), "rows of 1 columns"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if got := allocated(func() { _, err = batches.Measure(c.payload) }); got > 1<<20 {
				t.Errorf("allocated %d bytes for %d", got, len(c.payload))
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestClaimRate: 20,000 values for each second and one more; one row may be wider.
func TestClaimRate(t *testing.T) {
	for name, c := range map[string]struct {
		rows, width int
		apart       int64 // µs
		fits        bool
	}{
		"20,000 at once":     {20, 1000, 0, true},
		"20,001 at once":     {3, 6667, 0, false},
		"40,000 in a second": {2, 20_000, 1_000_000, true},
		"40,002 in a second": {2, 20_001, 1_000_000, false},
		"one wide row":       {1, 40_000, 0, true},
		"backwards":          {2, 20_000, -1_000_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, id := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, c.width))
			e := batches.NewEncoder(s, id)
			raw := make([]int64, c.width)
			for i := range raw {
				raw[i] = int64(i * i)
			}
			for i := range c.rows {
				raw[0] = int64(i)
				e.Add(0, 1_700_000_000_000_000+int64(i)*c.apart, raw)
			}
			payload, err := e.Encode(batchestest.Header, nil)
			if err != nil {
				t.Fatal(err)
			}
			claim, err := batches.Measure(payload)
			if err != nil {
				t.Fatal(err)
			}
			own := e.Claim()
			for _, c2 := range []batches.Claim{claim, own} {
				if err := c2.Check(s.Tick, len(payload)); (err == nil) != c.fits || err != nil && !errors.Is(err, document.ErrLimit) {
					t.Errorf("claim %+v: got %v, want it to fit: %v", c2, err, c.fits)
				}
			}
		})
	}
}

// BenchmarkMeasure is what the cloud does for each batch before it decodes it: 10 s of the RAV4.
func BenchmarkMeasure(b *testing.B) {
	r := load(b, "rav4")
	s, id := r.schema(b, protocol.ModeAll)
	e := batches.NewEncoder(s, id)
	var payload []byte
	drive(e, r.rows, 10*time.Second, func() {
		if payload == nil {
			payload, _ = e.Encode(batchestest.Header, nil)
		}
		e.Reset()
	})
	runtime.GC()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := batches.Measure(payload); err != nil {
			b.Fatal(err)
		}
	}
}
