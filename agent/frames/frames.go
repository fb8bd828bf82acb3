// Package frames is the agent's first stage: it reads blocks of frames from
// each bus and hands them on with the counters as of the block.
//
// When the pipeline is slow it waits; then the driver's queue fills, and the
// driver counts what it drops. It decodes nothing.
//
// Frames that nobody wants can be kept away by the driver (SetFilters): they
// never get here and are in no counter, neither received nor dropped nor
// unknown. Only a bus that nobody narrows is therefore counted wholly.
package frames

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/report"
)

// BlockFrames is the largest number of frames in a block.
const BlockFrames = 256

// Block is a run of frames of one bus, in the bus's order. It has none when it
// tells of frames dropped behind the last one of an attachment.
type Block struct {
	Bus    int // index of the input
	Frames []can.Frame
	// Received and Dropped are the counters of the bus as of the end of the
	// block, over all attachments since the start.
	Received, Dropped uint64
	// Gap says that frames may be missing in front of the block's: the driver lost them, filters kept them away, or
	// there was no bus. Within a block no frame is missing that the driver knows of.
	Gap bool
	buf [BlockFrames]can.Frame
}

// Input is one named bus and how to attach to it.
type Input struct {
	Name string
	// Open attaches to the bus; it is called again, with back-off, when the bus is lost or not there yet. An
	// error that wraps canbus.ErrConfig before the first success ends Run.
	Open func(context.Context) (canbus.Bus, error)
}

// Config of a Reader. Every field is required.
type Config struct {
	Inputs []Input
	Log    *slog.Logger
}

// Reader reads all buses.
type Reader struct {
	cfg      Config
	free     sync.Pool
	attached atomic.Int32
	places   []place // by input
}

// New makes a Reader.
func New(cfg Config) *Reader {
	r := &Reader{cfg: cfg, free: sync.Pool{New: func() any { return new(Block) }}, places: make([]place, len(cfg.Inputs))}
	for i, in := range cfg.Inputs {
		r.places[i].state = Bus{Bus: report.Bus{Name: in.Name, Filters: report.Everything}}
	}
	return r
}

// SetFilters says which frames are wanted of an input: nil is everything, an
// empty list nothing. It holds until it is said otherwise, also for a bus that
// is attached again. More frames than wanted may come. It may be called from any goroutine.
func (r *Reader) SetFilters(input int, filters []can.Filter) {
	r.say(input, r.places[input].narrow(filters))
}

// say logs how a bus is filtered now, if that is news.
func (r *Reader) say(input int, news string) {
	if news != "" {
		r.cfg.Log.Info("bus filters", "bus", r.cfg.Inputs[input].Name, "pass", news)
	}
}

// Buses gives the state of each input. It may be called from any goroutine.
func (r *Reader) Buses() []Bus {
	list := make([]Bus, len(r.places))
	for i := range r.places {
		list[i] = r.places[i].look()
	}
	return list
}

// Attached is the number of buses attached now.
func (r *Reader) Attached() int { return int(r.attached.Load()) }

// Release gives a block back; its frames must no longer be used.
func (r *Reader) Release(b *Block) { r.free.Put(b) }

// Run reads until ctx ends and closes out. What was received is always handed
// on: whoever reads out must go on until it is closed. A bus that cannot be
// opened, is lost or ends (io.EOF) is opened again. The error is of a bus whose
// configuration is wrong; all others have ended then, too.
func (r *Reader) Run(ctx context.Context, out chan<- *Block) error {
	defer close(out)
	buses, ctx := errgroup.WithContext(ctx)
	for i := range r.cfg.Inputs {
		buses.Go(func() error { return r.keep(ctx, i, out) })
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); r.watch(watching) }()
	err := buses.Wait()
	stop()
	<-watched
	return err
}

// watchEvery is how often the controllers' errors are looked at.
const watchEvery = 2 * time.Second

// watch says when a controller has left its bus, which no frame tells of.
func (r *Reader) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	said := make([]uint64, len(r.places))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i := range r.places {
			if b := r.places[i].look(); b.Errors.BusOff != said[i] {
				r.cfg.Log.Warn("controller went off the bus after too many errors", "bus", b.Name, "times", b.Errors.BusOff, "restarted", b.Errors.Restarted)
				said[i] = b.Errors.BusOff
			}
		}
	}
}

// Waits between attempts to attach to a bus. An attempt is cheap, and what a
// bus says before it is attached is lost.
const (
	minReattach = 50 * time.Millisecond
	maxReattach = 250 * time.Millisecond
)

// keep attaches to one bus again and again; base holds the counters of earlier attachments.
func (r *Reader) keep(ctx context.Context, index int, out chan<- *Block) error {
	in := r.cfg.Inputs[index]
	var base canbus.Stats
	wait, said, before := minReattach, "", false
	for ctx.Err() == nil {
		attached, stats, err := r.attach(ctx, index, base, out)
		if stats != base || attached { // so this is news
			base, wait, said, before = stats, minReattach, "", true
		}
		if ctx.Err() != nil {
			return nil
		}
		if !before && errors.Is(err, canbus.ErrConfig) {
			return fmt.Errorf("bus %s: %w", in.Name, err)
		}
		r.places[index].fail(err)
		if text := fmt.Sprint(err); text != said {
			r.cfg.Log.Warn("bus not readable; trying again", "bus", in.Name, "error", err)
			said = text
		}
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-pause.C:
			wait = min(2*wait, maxReattach)
		}
		pause.Stop()
	}
	return nil
}

// attach opens the bus and reads it to its end.
func (r *Reader) attach(ctx context.Context, index int, base canbus.Stats, out chan<- *Block) (attached bool, total canbus.Stats, err error) {
	bus, err := r.cfg.Inputs[index].Open(ctx)
	if err != nil {
		return false, base, err
	}
	defer bus.Close()
	here := &r.places[index]
	r.say(index, here.attach(bus))
	defer here.detach()
	r.attached.Add(1)
	defer r.attached.Add(-1)
	r.cfg.Log.Info("bus attached", "bus", r.cfg.Inputs[index].Name)
	total = base
	gap := true
	b := r.free.Get().(*Block)
	defer func() { r.free.Put(b) }()
	for {
		n, err := bus.Receive(ctx, b.buf[:])
		before := total.Dropped
		total.Received += uint64(n)
		total.Dropped = base.Dropped + bus.Stats().Dropped
		if n > 0 || total.Dropped != before { // no frame may be there to tell of the dropped ones
			b.Bus, b.Frames, b.Received, b.Dropped = index, b.buf[:n], total.Received, total.Dropped
			news, filtered := here.read(b.Frames, total)
			b.Gap, gap = gap || filtered || total.Dropped != before, false
			if news {
				r.cfg.Log.Info("first frame", "bus", r.cfg.Inputs[index].Name, "after_kernel_start", sinceKernelStart(b.Frames[0].Time))
			}
			out <- b
			b = r.free.Get().(*Block)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%s ended: %w", r.cfg.Inputs[index].Name, err)
			}
			return true, total, err
		}
	}
}
