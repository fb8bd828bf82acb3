// Package frames is the agent's first stage: it reads blocks of frames from
// each bus and hands them on with the counters as of the block.
//
// When the pipeline is slow it waits; then the driver's queue fills, and the
// driver counts what it drops. It decodes nothing.
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

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// BlockFrames is the largest number of frames in a block.
const BlockFrames = 256

// Block is a run of frames of one bus, in the bus's order.
type Block struct {
	Bus    int // index of the input
	Frames []can.Frame
	// Received and Dropped are the counters of the bus as of the end of the
	// block, over all attachments since the start.
	Received, Dropped uint64
	buf               [BlockFrames]can.Frame
}

// Input is one named bus and how to attach to it.
type Input struct {
	Name string
	// Open attaches to the bus; it is called again, with back-off, when the bus is lost.
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
}

// New makes a Reader.
func New(cfg Config) *Reader {
	return &Reader{cfg: cfg, free: sync.Pool{New: func() any { return new(Block) }}}
}

// Attached is the number of buses attached now.
func (r *Reader) Attached() int { return int(r.attached.Load()) }

// Release gives a block back; its frames must no longer be used.
func (r *Reader) Release(b *Block) { r.free.Put(b) }

// Run reads until ctx ends and closes out. What was received is always handed
// on: whoever reads out must go on until it is closed. A bus that cannot be
// opened, is lost or ends (io.EOF) is opened again.
func (r *Reader) Run(ctx context.Context, out chan<- *Block) error {
	defer close(out)
	var wg sync.WaitGroup
	for i := range r.cfg.Inputs {
		wg.Go(func() { r.keep(ctx, i, out) })
	}
	wg.Wait()
	return nil
}

// Waits between attempts to attach to a bus.
const (
	minReattach = 50 * time.Millisecond
	maxReattach = 2 * time.Second
)

// keep attaches to one bus again and again; base holds the counters of earlier attachments.
func (r *Reader) keep(ctx context.Context, index int, out chan<- *Block) {
	in := r.cfg.Inputs[index]
	var base canbus.Stats
	wait, said := minReattach, ""
	for ctx.Err() == nil {
		stats, err := r.attach(ctx, index, base, out)
		if stats != base { // there were frames, so this is news
			base, wait, said = stats, minReattach, ""
		}
		if ctx.Err() != nil {
			return
		}
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
}

// attach opens the bus and reads it to its end.
func (r *Reader) attach(ctx context.Context, index int, base canbus.Stats, out chan<- *Block) (canbus.Stats, error) {
	bus, err := r.cfg.Inputs[index].Open(ctx)
	if err != nil {
		return base, err
	}
	defer bus.Close()
	r.attached.Add(1)
	defer r.attached.Add(-1)
	r.cfg.Log.Info("bus attached", "bus", r.cfg.Inputs[index].Name)
	total := base
	b := r.free.Get().(*Block)
	defer func() { r.free.Put(b) }()
	for {
		n, err := bus.Receive(ctx, b.buf[:])
		if n > 0 {
			total.Received += uint64(n)
			total.Dropped = base.Dropped + bus.Stats().Dropped
			b.Bus, b.Frames, b.Received, b.Dropped = index, b.buf[:n], total.Received, total.Dropped
			out <- b
			b = r.free.Get().(*Block)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%s ended: %w", r.cfg.Inputs[index].Name, err)
			}
			return total, err
		}
	}
}
