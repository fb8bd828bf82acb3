// Package canbus is the port to the vehicle's CAN buses.
//
// Drivers are sibling folders: virtual for processes on one machine, replay for
// a fixed list of frames, socketcan for Linux. canbustest holds the suite that each driver passes.
package canbus

import (
	"context"
	"errors"

	"telltale.dev/protocol/can"
)

// ErrConfig is wrapped when a bus can never be opened as it was asked for:
// trying again is of no use until somebody changes the configuration.
var ErrConfig = errors.New("bus configuration")

// Bus receives frames from one bus. Receive is called by one goroutine at a time; Stats may be called by any.
type Bus interface {
	// Receive waits for at least one frame and fills frames with as many as
	// there are, in the order of the bus. It returns ctx.Err() when ctx ends,
	// io.EOF when the bus is gone for good, and otherwise an error that names
	// the bus. Frames that came before an error are returned first. Frames that
	// the driver lost are counted with the frame behind them, which is the first
	// of its Receive: none is missing, that the driver knows of, among frames.
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

// Filterer is the optional ability to keep frames that nobody wants from
// reaching the process at all. Such frames are in no counter.
type Filterer interface {
	// MaxFilters is how many filters SetFilters takes; see can.Narrow.
	MaxFilters() int
	// SetFilters lets the data frames through that one of the filters matches:
	// nil is everything, as when the bus was opened; an empty list is nothing.
	// Remote frames pass only when everything does. Frames that came before may
	// still be received. It may be called by any goroutine.
	SetFilters(filters []can.Filter) error
}

// Inspector is the optional ability to tell how the bus is. Its methods may be called by any goroutine.
type Inspector interface {
	// Errors gives the error frames since the bus was opened.
	Errors() Errors
	// Link asks for the state of the interface.
	Link() (Link, error)
}

// Stats are the counters of a bus since it was opened.
type Stats struct {
	Received uint64 // frames handed out by Receive
	Dropped  uint64 // frames lost between the bus and Receive, counted by the driver
}

// Errors counts error frames by class; a frame may belong to several. They are
// the controller's words, never data of the bus, and Receive does not hand them out.
type Errors struct {
	BusOff          uint64 `json:"bus_off,omitempty"`
	Restarted       uint64 `json:"restarted,omitempty"` // after bus-off
	Passive         uint64 `json:"error_passive,omitempty"`
	Warning         uint64 `json:"error_warning,omitempty"`
	Active          uint64 `json:"error_active,omitempty"` // all is well again
	ArbitrationLost uint64 `json:"arbitration_lost,omitempty"`
	NoAck           uint64 `json:"no_ack,omitempty"`
	Overflow        uint64 `json:"overflow,omitempty"`  // of the controller's own buffers: frames are lost there
	BusError        uint64 `json:"bus_error,omitempty"` // bit, stuff, form, checksum
	Transceiver     uint64 `json:"transceiver,omitempty"`
	Timeout         uint64 `json:"tx_timeout,omitempty"`
	Other           uint64 `json:"other,omitempty"`
}

// Plus adds two counts up.
func (e Errors) Plus(o Errors) Errors {
	return Errors{
		BusOff: e.BusOff + o.BusOff, Restarted: e.Restarted + o.Restarted, Passive: e.Passive + o.Passive,
		Warning: e.Warning + o.Warning, Active: e.Active + o.Active, ArbitrationLost: e.ArbitrationLost + o.ArbitrationLost,
		NoAck: e.NoAck + o.NoAck, Overflow: e.Overflow + o.Overflow, BusError: e.BusError + o.BusError,
		Transceiver: e.Transceiver + o.Transceiver, Timeout: e.Timeout + o.Timeout, Other: e.Other + o.Other,
	}
}

// Link is the state of a bus's interface at one moment.
type Link struct {
	Interface     string `json:"interface"`
	Kind          string `json:"kind"` // can, vcan, …
	Up            bool   `json:"up"`
	State         string `json:"state,omitempty"`           // of the controller: error-active … bus-off; empty: it has none
	BitrateHz     uint32 `json:"bitrate,omitempty"`         // 0: not set, or it has none
	DataBitrateHz uint32 `json:"data_bitrate,omitempty"`    // of CAN FD
	FD            bool   `json:"fd"`                        // CAN FD frames are possible
	ListenOnly    bool   `json:"listen_only,omitempty"`     //
	RxErrors      uint16 `json:"rx_error_count,omitempty"`  // the controller's counters, ISO 11898-1
	TxErrors      uint16 `json:"tx_error_count,omitempty"`  //
	Received      uint64 `json:"interface_frames"`          // by the interface, for all its users
	Lost          uint64 `json:"interface_lost,omitempty"`  // by controller and interface
	RestartMS     uint32 `json:"restart_ms,omitempty"`      // back on the bus so long after bus-off; 0: never
	Queue         int    `json:"transmit_queue,omitempty"`  // frames
	Index         int    `json:"interface_index,omitempty"` // of the kernel
}

// As gives the optional ability T of a bus: its own, or that of the bus it wraps.
func As[T any](b Bus) (T, bool) {
	for b != nil {
		if t, ok := b.(T); ok {
			return t, true
		}
		w, ok := b.(interface{ Unwrap() Bus })
		if !ok {
			break
		}
		b = w.Unwrap()
	}
	var none T
	return none, false
}
