package agent

import (
	"telltale.dev/hal/clock"
	"telltale.dev/protocol/codec"
)

// timeQuality says what a clock says in the words of batches; nil asks the kernel.
func timeQuality(c clock.Clock) func() codec.TimeQuality {
	if c == nil {
		c = new(clock.Kernel)
	}
	return func() codec.TimeQuality {
		switch c.Quality() {
		case clock.GNSS:
			return codec.TimeGNSS
		case clock.Network:
			return codec.TimeNTP
		case clock.Hardware:
			return codec.TimeRTC
		case clock.Unset:
			return codec.TimeUnsynced
		}
		return codec.TimeUnknown
	}
}
