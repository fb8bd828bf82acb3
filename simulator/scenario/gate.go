package scenario

import (
	"context"
	"math"
	"sync"

	"telltale.dev/simulator/drive"
)

// gate holds a drive at the next point of the timeline while what came before
// has not taken effect, so that a fast drive or a slow machine changes when
// things happen, but never what happens: no tunnel ends before the cloud has
// noticed it.
type gate struct {
	mu     sync.Mutex // guards all below
	player *drive.Player
	limit  float64 // share of the drive
}

// open is the limit of a gate that holds nothing.
const open = math.MaxFloat64

// passed is the player's Progress callback.
func (g *gate) passed(p drive.Progress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set(p)
}

// at lets the drive go on to a share of it.
func (g *gate) at(limit float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	if g.player != nil {
		g.set(g.player.Progress())
	}
}

func (g *gate) set(p drive.Progress) {
	switch {
	case g.player == nil:
	case p.Fraction >= g.limit && !p.Done:
		g.player.Pause()
	default:
		g.player.Resume()
	}
}

// run plays through the gate to the end.
func (g *gate) run(ctx context.Context, cfg drive.PlayerConfig) (*driving, error) {
	cfg.Progress = g.passed
	player, err := drive.NewPlayer(cfg)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.player = player
	g.mu.Unlock()
	d := &driving{Player: player, over: make(chan struct{})}
	go func() {
		defer close(d.over)
		d.err = player.Run(ctx)
	}()
	return d, nil
}

// driving is a drive under way.
type driving struct {
	*drive.Player
	over chan struct{} // closed when the drive has ended; err is set then
	err  error
}

// ended says whether the drive is over, and how it ended.
func (d *driving) ended() (bool, error) {
	select {
	case <-d.over:
		return true, d.err
	default:
		return false, nil
	}
}
