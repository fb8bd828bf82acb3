package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Synchronised asks the kernel whether its clock is disciplined, and how far it may be off by
// the kernel's own estimate. Source: adjtimex(2).
func Synchronised() (synced bool, most time.Duration, err error) {
	var t unix.Timex // no modes: only ask
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, time.Duration(t.Maxerror) * time.Microsecond, err
}
