package can_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"telltale.dev/protocol/can"
)

func TestFilters(t *testing.T) {
	tests := []struct {
		name      string
		filter    can.Filter
		pass, not []can.ID
		text      string
	}{
		{"standard", can.ExactFilter(0x123), []can.ID{0x123}, []can.ID{0x122, 0x523, 0x123 | can.Extended}, "123:7FF"},
		{"extended", can.ExactFilter(0x123 | can.Extended), []can.ID{0x123 | can.Extended}, []can.ID{0x123, 0x10000123 | can.Extended}, "00000123:1FFFFFFF"},
		{"group to all", can.GroupFilter(0x18FEF100 | can.Extended),
			[]can.ID{0x18FEF100 | can.Extended, 0x00FEF1FE | can.Extended, 0x1CFEF117 | can.Extended},
			[]can.ID{0x18FEF200 | can.Extended, 0x19FEF100 | can.Extended, 0x1AFEF100 | can.Extended, 0x100}, "00FEF100:03FFFF00"},
		{"group to one", can.GroupFilter(0x0CEF27F9 | can.Extended),
			[]can.ID{0x0CEF27F9 | can.Extended, 0x18EFFF00 | can.Extended},
			[]can.ID{0x0CF027F9 | can.Extended, 0x0DEF27F9 | can.Extended}, "00EF0000:03FF0000"},
		{"everything", can.Filter{}, []can.ID{0, 0x7FF, can.Extended | can.ExtendedMask}, nil, "000:000"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			for _, id := range c.pass {
				if !c.filter.Match(id) {
					t.Errorf("%v stops %08X", c.filter, id)
				}
			}
			for _, id := range c.not {
				if c.filter.Match(id) {
					t.Errorf("%v lets %08X through", c.filter, id)
				}
			}
			if got := c.filter.String(); got != c.text {
				t.Errorf("got %s, want %s", got, c.text)
			}
		})
	}
}

// TestGroupFilterAgreesWithPGN: a parameter group's filter and can.ID.PGN are of one mind.
func TestGroupFilterAgreesWithPGN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := can.ID(rapid.Uint32Range(0, uint32(can.ExtendedMask)).Draw(t, "id")) | can.Extended
		other := id ^ can.ID(1<<rapid.IntRange(0, 28).Draw(t, "bit"))
		f := can.GroupFilter(id)
		if !f.Match(id) || f.Match(other) != (id.PGN() == other.PGN()) {
			t.Fatalf("%08X and %08X have groups %05X and %05X, but %v says %v and %v",
				id, other, id.PGN(), other.PGN(), f, f.Match(id), f.Match(other))
		}
	})
}

func exacts(ids ...can.ID) (list []can.Filter) {
	for _, id := range ids {
		list = append(list, can.ExactFilter(id))
	}
	return list
}

func TestNarrow(t *testing.T) {
	var standard, spread []can.Filter
	for id := range can.ID(2048) {
		standard = append(standard, can.ExactFilter(id))
	}
	for i := range can.ID(9000) {
		spread = append(spread, can.ExactFilter(i*7919|can.Extended))
	}
	tests := []struct {
		name  string
		given []can.Filter
		limit int
		want  int // filters; −1: none at all
		exact bool
	}{
		{"nothing wanted", nil, 512, 0, true},
		{"few", exacts(1, 2, 3|can.Extended), 512, 3, true},
		{"twice", exacts(1, 1, 2), 512, 2, true},
		{"in another one", []can.Filter{can.GroupFilter(0x18FEF100 | can.Extended), can.ExactFilter(0x18FEF117 | can.Extended)}, 512, 1, true},
		{"neighbours merge without loss", exacts(0x100, 0x101, 0x102, 0x103), 1, 1, true},
		{"others with loss", exacts(0x100, 0x103), 1, 1, false},
		{"one format cannot stand for the other", exacts(0x100, 0x100|can.Extended), 1, -1, false},
		{"all 11-bit identifiers", standard, 512, 512, true},
		{"the limit", spread[:512], 512, 512, true},
		{"one too many", spread[:513], 512, 512, false},
		{"far too many", spread, 512, -1, false},
		{"no room", exacts(1), 0, -1, false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.given)
			got, exact := can.Narrow(c.given, c.limit)
			if exact != c.exact || (c.want < 0) != (got == nil) || c.want >= 0 && len(got) != c.want {
				t.Errorf("got %d filters (nil: %v), exact %v; want %d, %v", len(got), got == nil, exact, c.want, c.exact)
			}
			if !slices.Equal(c.given, before) {
				t.Error("the given filters were changed")
			}
		})
	}
}

// TestNarrowLosesNothing: whatever was wanted still passes, and exact means that nothing else does.
func TestNarrowLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var given []can.Filter
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			id := can.ID(rapid.Uint32Range(0, 0x3F).Draw(t, "id"))
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				given = append(given, can.ExactFilter(id))
			case 1:
				given = append(given, can.ExactFilter(id|can.Extended))
			default:
				given = append(given, can.GroupFilter(id<<16|can.Extended))
			}
		}
		limit := rapid.IntRange(2, 20).Draw(t, "limit")
		got, exact := can.Narrow(given, limit)
		if got == nil || len(got) > limit {
			t.Fatalf("%d filters (nil: %v), want at most %d", len(got), got == nil, limit)
		}
		passes := func(filters []can.Filter, id can.ID) bool {
			return slices.ContainsFunc(filters, func(f can.Filter) bool { return f.Match(id) })
		}
		for n := range can.ID(0x40) {
			for _, id := range []can.ID{n, n | can.Extended, n<<16 | can.Extended, n<<16 | 0x1234 | can.Extended} {
				wanted, through := passes(given, id), passes(got, id)
				if wanted && !through || exact && through && !wanted {
					t.Fatalf("%08X is wanted: %v, but passes: %v (exact: %v)", id, wanted, through, exact)
				}
			}
		}
	})
}

func BenchmarkNarrow(b *testing.B) {
	var many []can.Filter
	for i := range can.ID(2000) {
		many = append(many, can.ExactFilter(i*7919|can.Extended))
	}
	b.ReportAllocs()
	for b.Loop() {
		can.Narrow(many, 512)
	}
}
