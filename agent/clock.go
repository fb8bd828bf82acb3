package agent

import (
	"telltale.dev/hal/clock"
	"telltale.dev/protocol/batches"
)

// timeQuality says what a clock says in the words of batches; nil asks the kernel.
func timeQuality(c clock.Clock) func() batches.TimeQuality {
	if c == nil {
		c = new(clock.Kernel)
	}
	return func() batches.TimeQuality {
		switch c.Quality() {
		case clock.GNSS:
			return batches.TimeGNSS
		case clock.Network:
			return batches.TimeNTP
		case clock.Hardware:
			return batches.TimeRTC
		case clock.Unset:
			return batches.TimeUnsynced
		}
		return batches.TimeUnknown
	}
}
