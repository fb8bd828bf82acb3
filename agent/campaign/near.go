package campaign

import (
	"cmp"
	"slices"
	"strings"

	"telltale.dev/protocol/signal"
)

// Bounds of the search for near names: it is made once for each campaign that asks for a
// signal that the vehicle lacks, on the vehicle's processor.
const (
	maxNear       = 3    // names that are given
	maxCompared   = 8192 // signals that are looked at
	maxNearLength = 96   // bytes of a name or pattern that are compared
)

// near gives the "bus.message.signal" of the catalogue that a pattern may have meant, the
// nearest first: those that differ in at most a quarter of its letters, or two.
func near(cat *signal.Catalogue, pattern string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	want := strings.ToLower(pattern[:min(len(pattern), maxNearLength)])
	limit := max(2, len(strings.Trim(want, "*"))/4)
	compared := 0
	var rows [2][]int
	for i := range cat.Signals {
		if compared++; compared > maxCompared {
			break
		}
		s := &cat.Signals[i]
		name := s.Bus + "." + s.Message + "." + s.Name
		if d := distance(want, strings.ToLower(name[:min(len(name), maxNearLength)]), limit, &rows); d <= limit {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range found[:min(len(found), maxNear)] {
		names = append(names, c.name)
	}
	return names
}

// distance counts the letters to add, drop or change (Levenshtein) to make the pattern
// match; * stands for any letters, ? for one. It stops when more than limit are needed,
// and then gives limit+1.
func distance(pattern, name string, limit int, rows *[2][]int) int {
	before, row := append(rows[0][:0], 0), rows[1][:0]
	for range name {
		before = append(before, before[len(before)-1]+1)
	}
	for i := range len(pattern) {
		star, any := pattern[i] == '*', pattern[i] == '?'
		row = append(row[:0], before[0]+1)
		if star {
			row[0] = before[0]
		}
		least := row[0]
		for j := range len(name) {
			d := before[j] // the letter fits
			switch {
			case star:
				d = min(before[j+1], row[j])
			case !any && pattern[i] != name[j]:
				d = 1 + min(before[j], before[j+1], row[j])
			}
			row = append(row, d)
			least = min(least, d)
		}
		if least > limit {
			return limit + 1
		}
		before, row = row, before
	}
	rows[0], rows[1] = before, row
	return before[len(name)]
}
