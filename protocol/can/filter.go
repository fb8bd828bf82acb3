package can

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// Filter lets the frames through whose identifier agrees with ID wherever Mask
// has a one. Bit 31 of both is the format; the zero Filter lets everything through.
type Filter struct{ ID, Mask ID }

// ExactFilter lets one identifier through.
func ExactFilter(id ID) Filter {
	if id.IsExtended() {
		return Filter{id, Extended | ExtendedMask}
	}
	return Filter{id & StandardMask, Extended | StandardMask}
}

// Bits of a 29-bit identifier that make up a J1939 parameter group (SAE J1939-21, 5.2).
const (
	groupPDU1 ID = 0x03FF0000 // destination left out
	groupPDU2 ID = 0x03FFFF00
)

// GroupFilter lets a J1939 parameter group through, from any address and with
// any priority, in the PDU1 format also to any address.
func GroupFilter(id ID) Filter {
	mask := Extended | groupPDU2
	if id>>16&0xFF < 0xF0 {
		mask = Extended | groupPDU1
	}
	return Filter{(id | Extended) & mask, mask}
}

// Match says whether a frame with this identifier is let through.
func (f Filter) Match(id ID) bool { return (id^f.ID)&f.Mask == 0 }

// covers says whether f lets everything through that o lets through.
func (f Filter) covers(o Filter) bool { return f.Mask&^o.Mask == 0 && f.Match(o.ID) }

// overlaps says whether both let some identifier through.
func (f Filter) overlaps(o Filter) bool { return (f.ID^o.ID)&f.Mask&o.Mask == 0 }

// width is the number of identifiers that f lets through.
func (f Filter) width() uint64 {
	free := ExtendedMask &^ f.Mask
	if f.Mask&Extended != 0 && !f.ID.IsExtended() {
		free &= StandardMask
	}
	return 1 << bits.OnesCount32(uint32(free))
}

// merge is the narrowest filter that lets through what f or o does.
func (f Filter) merge(o Filter) Filter {
	mask := f.Mask & o.Mask &^ (f.ID ^ o.ID)
	return Filter{f.ID & mask, mask}
}

// String gives identifier and mask as candump writes them, 123:7FF or 18FEF100:03FFFF00.
func (f Filter) String() string {
	if f.ID.IsExtended() {
		return fmt.Sprintf("%08X:%08X", f.ID.Number(), f.Mask.Number())
	}
	return fmt.Sprintf("%03X:%03X", f.ID.Number(), f.Mask.Number())
}

// maxNarrow bounds the work of Narrow: more filters than that become none.
const maxNarrow = 8192

// Narrow makes at most limit filters that let through at least what the given
// ones do. exact says that they let through nothing else. While there are too
// many, those are merged that let the fewest other identifiers in. nil, which
// lets everything through, comes back when even that does not help (a limit
// below 2 for both formats, or more than 8192 filters). The given slice is not changed.
func Narrow(filters []Filter, limit int) (narrowed []Filter, exact bool) {
	all := make([]Filter, len(filters)) // never nil: no filter lets nothing through
	for i, f := range filters {
		all[i] = Filter{f.ID & f.Mask, f.Mask}
	}
	slices.SortFunc(all, compareFilters)
	all = slices.Compact(all)
	if len(all) > maxNarrow {
		return nil, false
	}
	all = uncovered(all)
	exact = true
	for len(all) > max(limit, 0) {
		i := cheapest(all)
		if i < 0 {
			return nil, false
		}
		merged := all[i].merge(all[i+1])
		exact = exact && !all[i].overlaps(all[i+1]) && merged.width() == all[i].width()+all[i+1].width()
		all[i] = merged
		all = slices.Delete(all, i+1, i+2)
	}
	return all, exact
}

func compareFilters(a, b Filter) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Mask, b.Mask))
}

// uncovered leaves out the filters that another one makes needless. An exact
// filter can only be covered by one that is not.
func uncovered(all []Filter) []Filter {
	var wide []Filter
	for _, f := range all {
		if f.width() > 1 {
			wide = append(wide, f)
		}
	}
	return slices.DeleteFunc(all, func(f Filter) bool {
		return slices.ContainsFunc(wide, func(w Filter) bool { return w != f && w.covers(f) })
	})
}

// cheapest finds the neighbours of one format whose merging lets the fewest
// other identifiers in; −1 when there are none.
func cheapest(all []Filter) int {
	best, least := -1, uint64(0)
	for i := range len(all) - 1 {
		a, b := all[i], all[i+1]
		if a.ID.IsExtended() != b.ID.IsExtended() {
			continue
		}
		wide, need := a.merge(b).width(), a.width()+b.width()
		cost := wide - min(wide, need)
		if best < 0 || cost < least {
			best, least = i, cost
		}
	}
	return best
}
