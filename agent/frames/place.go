package frames

import (
	"fmt"
	"slices"
	"sync"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/report"
)

// place is what is known of one input, whether its bus is attached or not.
type place struct {
	mu       sync.Mutex // guards all below
	bus      canbus.Bus // nil: not attached
	wanted   []can.Filter
	narrowed bool // wanted counts
	given    bool // the driver has filters:
	filters  []can.Filter
	filtered bool // they have changed since the last block
	said     string
	state    Bus
	base     canbus.Errors // of earlier attachments
}

// Bus is the state of one input.
type Bus struct {
	report.Bus
	Errors canbus.Errors `json:"error_frames"`
}

// attach takes a fresh bus and narrows it to what is wanted.
func (p *place) attach(bus canbus.Bus) (news string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bus, p.state.Attached, p.state.Failure, p.given = bus, true, "", false
	return p.apply()
}

// detach lets go of the bus, which is closed afterwards.
func (p *place) detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.base = sum(p.base, p.bus)
	p.state.Errors = p.base
	p.bus, p.state.Attached = nil, false
}

// narrow changes what is wanted: nil is everything.
func (p *place) narrow(filters []can.Filter) (news string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted, p.narrowed = filters, filters != nil
	if p.bus == nil {
		return ""
	}
	return p.apply()
}

// apply narrows the bus as far as its driver can, and gives what is to be said
// of it when that is new. Callers hold mu.
func (p *place) apply() (news string) {
	p.state.Filters = p.filter()
	if p.state.Filters == p.said || p.said == "" && p.state.Filters == report.Everything {
		return ""
	}
	p.said = p.state.Filters
	return p.said
}

func (p *place) filter() string {
	f, able := canbus.As[canbus.Filterer](p.bus)
	if !able {
		if p.narrowed {
			return report.Everything + ": the driver has no filters"
		}
		return report.Everything
	}
	var filters []can.Filter
	text := report.Everything
	if p.narrowed {
		var exact bool
		filters, exact = can.Narrow(p.wanted, f.MaxFilters())
		switch {
		case filters == nil:
			text = fmt.Sprintf("%s: %d identifiers are wanted, too many for %d filters", report.Everything, len(p.wanted), f.MaxFilters())
		case exact:
			text = fmt.Sprintf("%d filters", len(filters))
		default:
			text = fmt.Sprintf("%d masks for %d wanted identifiers: some others pass, too", len(filters), len(p.wanted))
		}
	}
	if p.given && (filters == nil) == (p.filters == nil) && slices.Equal(filters, p.filters) {
		return text // no frame must be missing for this
	}
	p.filtered = true
	if err := f.SetFilters(filters); err != nil {
		p.given = false
		return fmt.Sprintf("unknown: %v", err)
	}
	p.given, p.filters = true, filters
	return text
}

// read notes a block, and says whether it has the first frame, and whether the filters have changed since the block before.
func (p *place) read(frames []can.Frame, total canbus.Stats) (news, filtered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	filtered, p.filtered = p.filtered, false
	if news = p.state.First == 0 && len(frames) > 0; news {
		p.state.First = frames[0].Time
	}
	p.state.Received, p.state.Dropped = total.Received, total.Dropped
	return news, filtered
}

// fail notes why there is no bus.
func (p *place) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Failure = err.Error()
}

// look gives the state.
func (p *place) look() Bus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bus != nil {
		p.state.Errors = sum(p.base, p.bus)
	}
	return p.state
}

// sum adds the error frames of a bus to those of earlier attachments.
func sum(base canbus.Errors, bus canbus.Bus) canbus.Errors {
	if i, ok := canbus.As[canbus.Inspector](bus); ok {
		return base.Plus(i.Errors())
	}
	return base
}
