// Package canbus is the port to the vehicle's CAN buses.
//
// Drivers are sibling folders: virtual for processes on one machine, replay for
// a fixed list of frames, socketcan for Linux. canbustest holds the suite that each driver passes.
package canbus

import (
	"context"

	"telltale.dev/protocol/can"
)

// Bus receives frames from one bus. Receive is called by one goroutine at a time; Stats may be called by any.
type Bus interface {
	// Receive waits for at least one frame and fills frames with as many as
	// there are, in the order of the bus. It returns ctx.Err() when ctx ends,
	// io.EOF when the bus is gone for good, and otherwise an error that names
	// the bus. Frames that came before an error are returned first.
	Receive(ctx context.Context, frames []can.Frame) (n int, err error)
	// Stats gives the counters since the bus was opened.
	Stats() Stats
	// Close releases the bus; a Receive under way returns an error.
	Close() error
}

// Sender is the optional ability to put frames on the bus.
type Sender interface {
	// Send queues frames in order, or waits for room until ctx ends.
	Send(ctx context.Context, frames []can.Frame) error
}

// Stats are the counters of a bus since it was opened.
type Stats struct {
	Received uint64 // frames handed out by Receive
	Dropped  uint64 // frames lost between the bus and Receive, counted by the driver
}
