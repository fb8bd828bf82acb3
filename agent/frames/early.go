package frames

import (
	"context"
	"sync"

	"telltale.dev/hal/canbus"
)

// OpenEarly begins to open the inputs and does not wait for it, so that what
// the buses say while the rest of the agent starts gathers in their drivers.
// The first Open of an input that it gives hands out what came of it; each
// further one opens anew. release, to be called at the end, closes what nobody took.
func OpenEarly(ctx context.Context, inputs []Input) (opened []Input, release func()) {
	list := make([]*early, len(inputs))
	for i, in := range inputs {
		e := &early{done: make(chan struct{})}
		list[i] = e
		go func() { defer close(e.done); e.bus, e.err = in.Open(ctx) }()
		opened = append(opened, Input{Name: in.Name, Open: func(ctx context.Context) (canbus.Bus, error) {
			if bus, ok, err := e.take(); ok {
				return bus, err
			}
			return in.Open(ctx)
		}})
	}
	return opened, func() {
		for _, e := range list {
			if bus, ok, _ := e.take(); ok && bus != nil {
				_ = bus.Close()
			}
		}
	}
}

// early is an attempt to open a bus ahead of time.
type early struct {
	done chan struct{} // closed when bus and err are there
	bus  canbus.Bus
	err  error

	mu    sync.Mutex // guards taken
	taken bool
}

// take gives what came of the attempt, once.
func (e *early) take() (bus canbus.Bus, ok bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.taken {
		return nil, false, nil
	}
	e.taken = true
	<-e.done
	return e.bus, true, e.err
}
