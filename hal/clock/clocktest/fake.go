// Package clocktest holds a fake clock for tests.
package clocktest

import (
	"sync/atomic"

	"telltale.dev/hal/clock"
)

// Fake is a Clock that says what it was told last; clock.Unknown at first.
type Fake struct{ quality atomic.Uint32 }

var _ clock.Clock = (*Fake)(nil)

// Set changes what the clock says.
func (f *Fake) Set(q clock.Quality) { f.quality.Store(uint32(q)) }

// Quality implements clock.Clock.
func (f *Fake) Quality() clock.Quality { return clock.Quality(f.quality.Load()) }
