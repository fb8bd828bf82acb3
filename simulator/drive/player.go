package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

const (
	// tick is the shortest pause between two batches: the bus is fed about once a ms.
	tick = time.Millisecond
	// maxTick is the most frames between two looks at the clock.
	maxTick = 4096
	// loopGap is at least between the last frame of a round and the first of the next, in µs.
	loopGap = 1000
)

// PlayerConfig says what to play, where and how fast.
type PlayerConfig struct {
	Log *Log         // from Scan
	Hub *virtual.Hub // frames go to its buses of the same names
	// Send, when set, takes the frames instead of Hub. It may change them, and its error ends the drive.
	Send func(bus string, frames []can.Frame) error
	// Speed 1 keeps the recorded timing, 60 plays a minute in a second. 0: as fast
	// as possible; readers then lose what they cannot keep up with.
	Speed float64
	// Start is the time the first frame gets, and the others with it. Zero: the
	// recorded times stay, but do not go back with a clock that was set back.
	Start time.Time
	// Loop plays again and again; times go on rising.
	Loop bool
	// Progress, when set, is called behind each batch from Run's goroutine. It must be quick.
	Progress func(Progress)
}

// Progress says how far a Player is.
type Progress struct {
	// Fraction of the drive played, in source time: 0 to 1; with Loop 1.5 is the middle of the second round.
	Fraction float64
	Time     int64  // source time of the newest frame, µs since the epoch
	Frames   uint64 // frames sent in all
	Done     bool   // the end has been reached
}

// BusFrames is the number of frames sent to one bus.
type BusFrames struct {
	Bus    string
	Frames uint64
}

// Player plays one log onto the buses of a hub. Run is called once; the other
// methods may be called by any goroutine at any time.
type Player struct {
	cfg PlayerConfig

	// Owned by Run.
	wires   []func([]can.Frame) error // by the reader's channel
	batches [][]can.Frame
	began   time.Time // when frame time zero was, on the wall
	zero    int64     // µs: source time of the first frame of all
	shift   int64     // µs added to recorded times

	mu       sync.Mutex // guards all below
	sent     []BusFrames
	progress Progress
	moved    chan struct{} // closed and replaced at each progress
	resume   chan struct{} // closed when not paused
	stop     chan struct{} // closed by Stop
}

// NewPlayer makes a Player.
func NewPlayer(cfg PlayerConfig) (*Player, error) {
	if cfg.Log == nil || cfg.Hub == nil && cfg.Send == nil {
		return nil, errors.New("a player needs a log and a hub")
	}
	if cfg.Speed < 0 || cfg.Speed != cfg.Speed {
		return nil, fmt.Errorf("speed %v, want 0 or more", cfg.Speed)
	}
	p := &Player{cfg: cfg, moved: make(chan struct{}), resume: make(chan struct{}), stop: make(chan struct{})}
	close(p.resume)
	for _, name := range cfg.Log.Names() { // the reader will meet them in the same order
		p.wires = append(p.wires, cfg.wire(name))
		p.sent = append(p.sent, BusFrames{Bus: name})
	}
	p.batches = make([][]can.Frame, len(p.wires))
	return p, nil
}

// wire is where the frames of a bus go.
func (cfg *PlayerConfig) wire(bus string) func([]can.Frame) error {
	if cfg.Send != nil {
		return func(frames []can.Frame) error { return cfg.Send(bus, frames) }
	}
	wire := cfg.Hub.Bus(bus)
	return func(frames []can.Frame) error {
		wire.Send(frames)
		return nil
	}
}

// Run plays until the log (or with Loop: somebody) ends it. It returns nil at the end and after Stop, and ctx.Err() when ctx ends.
func (p *Player) Run(ctx context.Context) error {
	p.began, p.zero = time.Now(), p.cfg.Log.First
	if !p.cfg.Start.IsZero() {
		p.shift = p.cfg.Start.UnixMicro() - p.cfg.Log.First
	}
	length := p.cfg.Log.Last - p.cfg.Log.First
	round := length + max(loopGap, length/int64(max(p.cfg.Log.Counts.Frames, 1)))
	for n := 0; ; n++ {
		err := p.play(ctx, int64(n)*round)
		if err == errStopped {
			return nil
		}
		if err != nil {
			return err
		}
		if !p.cfg.Loop {
			p.report(func(g *Progress) { g.Fraction, g.Done = 1, true })
			return nil
		}
	}
}

// errStopped says that Stop was called.
var errStopped = errors.New("stopped")

// play plays the log once, offset µs after the first round.
func (p *Player) play(ctx context.Context, offset int64) error {
	r, err := p.cfg.Log.options.Open(ctx, p.cfg.Log.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]Recorded, readBatch)
	var ready []Recorded
	var along timeline
	for {
		var last int64
		for count := 0; count < maxTick; {
			if len(ready) == 0 {
				n, err := r.Next(buf)
				if err == io.EOF {
					return p.flush(last, offset)
				}
				if err != nil {
					return err
				}
				for i := range buf[:n] {
					buf[i].Time = along.at(buf[i].Time)
				}
				if ready = buf[:n]; len(r.Buses()) > len(p.wires) {
					return fmt.Errorf("%s has changed: it has more buses than before", r.name)
				}
			}
			n := p.gather(ready, offset, maxTick-count)
			if n == 0 {
				break
			}
			count, last, ready = count+n, ready[n-1].Time, ready[n:]
		}
		if err := p.flush(last, offset); err != nil {
			return err
		}
		if err := p.pace(ctx, ready, offset); err != nil {
			return err
		}
	}
}

// due says how long after began a frame is to be sent.
func (p *Player) due(f *Recorded, offset int64) time.Duration {
	if p.cfg.Speed == 0 {
		return 0
	}
	return time.Duration(float64(f.Time-p.zero+offset) * 1000 / p.cfg.Speed)
}

// gather moves the frames that are due now into the batches of their buses, at most most, and gives their number.
func (p *Player) gather(ready []Recorded, offset int64, most int) (n int) {
	now := time.Since(p.began)
	for n < min(len(ready), most) && p.due(&ready[n], offset) <= now {
		f := ready[n].Frame
		f.Time += p.shift + offset
		p.batches[ready[n].Channel] = append(p.batches[ready[n].Channel], f)
		n++
	}
	return n
}

// flush puts what was gathered on the buses and tells how far the drive is; last is the recorded time of the newest frame.
func (p *Player) flush(last, offset int64) error {
	total := uint64(0)
	for channel, batch := range p.batches {
		if len(batch) == 0 {
			continue
		}
		if err := p.wires[channel](batch); err != nil {
			return err
		}
		total += uint64(len(batch))
		p.mu.Lock()
		p.sent[channel].Frames += uint64(len(batch))
		p.mu.Unlock()
		p.batches[channel] = batch[:0]
	}
	if total == 0 {
		return nil
	}
	length := float64(max(p.cfg.Log.Last-p.cfg.Log.First, 1))
	p.report(func(g *Progress) {
		g.Frames += total
		g.Time = last + p.shift + offset
		g.Fraction = max(g.Fraction, float64(last-p.zero+offset)/length)
	})
	return nil
}

// report changes the progress and tells everybody.
func (p *Player) report(change func(*Progress)) {
	p.mu.Lock()
	change(&p.progress)
	g := p.progress
	close(p.moved)
	p.moved = make(chan struct{})
	p.mu.Unlock()
	if p.cfg.Progress != nil {
		p.cfg.Progress(g)
	}
}

// pace waits until the first of ready is due, at least a tick, and while paused.
func (p *Player) pace(ctx context.Context, ready []Recorded, offset int64) error {
	if err := p.held(ctx); err != nil {
		return err
	}
	if len(ready) == 0 || p.cfg.Speed == 0 {
		return nil
	}
	wait := p.due(&ready[0], offset) - time.Since(p.began)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(max(wait, tick))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.stop:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// held waits while the drive is paused; the time this takes does not count.
func (p *Player) held(ctx context.Context) error {
	p.mu.Lock()
	resume := p.resume
	p.mu.Unlock()
	select { // what has ended goes first
	case <-p.stop:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	select {
	case <-resume: // as long as nobody pauses
		return nil
	default:
	}
	since := time.Now()
	select {
	case <-resume:
		p.began = p.began.Add(time.Since(since))
		return nil
	case <-p.stop:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause holds the drive, source time included, until Resume.
func (p *Player) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resume:
		p.resume = make(chan struct{})
	default: // is paused
	}
}

// Resume ends a Pause.
func (p *Player) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resume: // is not paused
	default:
		close(p.resume)
	}
}

// Stop ends the drive here; Run returns nil.
func (p *Player) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
}

// Progress says how far the drive is.
func (p *Player) Progress() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.progress
}

// Wait returns nil when the drive has reached a fraction (see Progress.Fraction) or its end, and ctx.Err() when ctx ends.
func (p *Player) Wait(ctx context.Context, fraction float64) error {
	for {
		p.mu.Lock()
		g, moved := p.progress, p.moved
		p.mu.Unlock()
		if g.Done || g.Frames > 0 && g.Fraction >= fraction {
			return nil
		}
		select {
		case <-moved:
		case <-p.stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Sent gives the frames sent so far, in the order of the log's buses.
func (p *Player) Sent() []BusFrames {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}
