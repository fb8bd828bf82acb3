package signals

import (
	"slices"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/j1939"
)

// Interest is what is wanted of one input. It never wants less than the frames
// that carry the wanted signals.
type Interest struct {
	// Everything: all frames, also those that no DBC file knows, so that they are
	// counted. A bus is narrowed only when some message of it is wanted by nobody.
	Everything bool
	// Filters let the frames of the wanted messages through; without Everything and without filters no frame is wanted.
	Filters []can.Filter
}

// Interests says what is wanted of each input, by its name as a bus of the plan,
// when of each signal of the plan it is known whether somebody wants it. nil:
// nobody wants anything.
func Interests(plan *dbc.Plan, inputs []string, wanted []bool) []Interest {
	all := wanted != nil && !slices.Contains(wanted, false)
	if wanted == nil {
		wanted = make([]bool, len(plan.Signals()))
	}
	list := make([]Interest, len(plan.Buses()))
	known := make([]bool, len(list)) // the bus has a message with signals
	left := make([]bool, len(list))  // some of them is wanted by nobody
	long := make([]bool, len(list))  // some that is wanted may come by the transport protocol
	for _, m := range plan.Messages() {
		if len(m.Signals) == 0 {
			continue
		}
		known[m.Bus] = true
		if !slices.Contains(wanted[m.First:m.First+len(m.Signals)], true) {
			left[m.Bus] = true
			continue
		}
		list[m.Bus].Filters = append(list[m.Bus].Filters, filterOf(&m))
		long[m.Bus] = long[m.Bus] || m.J1939 && m.Length > can.MaxClassic
	}
	for bus := range list {
		if long[bus] {
			list[bus].Filters = append(list[bus].Filters, j1939.Filters()...)
		}
	}
	found := make([]Interest, len(inputs))
	for i, name := range inputs {
		bus := slices.Index(plan.Buses(), name)
		switch {
		case bus < 0 || !known[bus]:
			found[i].Everything = all
		case !left[bus]:
			found[i].Everything = true
		default:
			found[i] = list[bus]
		}
	}
	return found
}

// filterOf lets through what the plan decodes as message m (dbc.Source.J1939).
// Values of multiplexors are the decoder's business: a filter knows identifiers only.
func filterOf(m *dbc.MessageInfo) can.Filter {
	if m.J1939 && m.ID.IsExtended() {
		return can.GroupFilter(m.ID)
	}
	return can.ExactFilter(m.ID)
}
