package update

import (
	"maps"
	"slices"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// Execution is one update of one device: what was asked for, and where it stands. Times are
// ms since the Unix epoch by the cloud's clock.
type Execution struct {
	ID       updates.ID         `cbor:"id"`
	Vehicle  protocol.VehicleID `cbor:"vid"`
	Device   protocol.DeviceID  `cbor:"did"`
	Revision uint64             `cbor:"rev"` // of the document
	File     File               `cbor:"file"`

	AllowDowngrade bool                     `cbor:"downgrade,omitempty"`
	Health         uint32                   `cbor:"health,omitempty"` // seconds; zero: the device decides
	Deadlines      map[updates.State]uint32 `cbor:"deadlines"`        // seconds

	State    updates.State  `cbor:"state"`
	Reason   reasons.Reason `cbor:"reason,omitempty"`
	Detail   string         `cbor:"detail,omitempty"`
	Bytes    int64          `cbor:"bytes,omitempty"` // of the file that the device has
	Sequence uint64         `cbor:"seq,omitempty"`   // of the newest word
	Began    int64          `cbor:"began"`
	Changed  int64          `cbor:"changed"`         // when State was entered
	Heard    int64          `cbor:"heard,omitempty"` // when the device last spoke of it; zero: never
	Deadline int64          `cbor:"deadline,omitempty"`
	// TimedOutIn is the state in which nothing was heard in time; it stays when a late word corrects the state.
	TimedOutIn updates.State `cbor:"timed_out_in,omitempty"`
	Late       bool          `cbor:"late,omitempty"`
	Canceling  bool          `cbor:"canceling,omitempty"` // asked for, and not answered yet
	Assumed    bool          `cbor:"assumed,omitempty"`   // State is an end of the cloud's own
	Steps      []Step        `cbor:"steps"`
}

// Step is a change of state.
type Step struct {
	State  updates.State  `cbor:"state"`
	At     int64          `cbor:"at"`
	Reason reasons.Reason `cbor:"reason,omitempty"`
}

// maxSteps bounds the steps kept of one execution: the first and the newest ones.
const maxSteps = 64

// Device is what runs on a device, by its own word.
type Device struct {
	Running updates.Running `cbor:"running"`
	At      int64           `cbor:"at"` // when the cloud heard of it, ms since the Unix epoch
}

// record is what is stored of a vehicle.
type record struct {
	Version   int                          `cbor:"v"` // 1
	Execution *Execution                   `cbor:"execution,omitempty"`
	Devices   map[protocol.DeviceID]Device `cbor:"devices"`
}

// clone lets an edit change everything.
func (r record) clone() record {
	r.Version = recordVersion
	if r.Execution != nil {
		e := *r.Execution
		e.Steps = slices.Clone(e.Steps)
		r.Execution = &e
	}
	if r.Devices = maps.Clone(r.Devices); r.Devices == nil {
		r.Devices = map[protocol.DeviceID]Device{}
	}
	return r
}

const recordVersion = 1

// enter changes the state at now, and sets the time until which something must be heard.
func (e *Execution) enter(s updates.State, reason reasons.Reason, now time.Time) {
	if e.State != s {
		e.Changed = now.UnixMilli()
		if len(e.Steps) >= maxSteps {
			e.Steps = slices.Delete(e.Steps, 1, 2)
		}
		e.Steps = append(e.Steps, Step{State: s, At: now.UnixMilli(), Reason: reason})
	}
	e.State, e.Reason = s, reason
	e.arm(now)
}

// arm counts the state's time from now on.
func (e *Execution) arm(now time.Time) {
	e.Deadline = 0
	if s, ok := e.Deadlines[e.State]; ok {
		e.Deadline = now.Add(time.Duration(s) * time.Second).UnixMilli()
	}
}

// hear applies a word of the device; false when it is old, or says what cannot be.
func (e *Execution) hear(f *updates.Feedback, now time.Time) bool {
	from := e.State
	if e.Assumed {
		from = updates.TimedOut // any word of the vehicle corrects what was only assumed
	}
	if f.Update != e.ID || f.Device != e.Device || f.Sequence <= e.Sequence || f.State != e.State && !from.Next(f.State) {
		return false
	}
	progress := f.State != e.State || f.Bytes > e.Bytes
	e.Late = e.Late || e.Assumed && f.State != e.State
	e.Sequence, e.Bytes, e.Heard, e.Detail = f.Sequence, f.Bytes, now.UnixMilli(), f.Detail
	deadline := e.Deadline
	e.enter(f.State, f.Reason, now)
	if !progress {
		e.Deadline = deadline
	}
	e.Assumed = false
	if e.State.Ended() {
		e.Canceling = false
	}
	return true
}

// document is what the device is to be told; false when there is nothing to say any more.
func (e *Execution) document() (updates.Update, bool) {
	if e == nil || e.State.Ended() && !e.Assumed {
		return updates.Update{}, false
	}
	return updates.Update{
		Version: 1, Revision: e.Revision, ID: e.ID, Device: e.Device, Cancel: e.Canceling || e.Assumed,
		File: e.File.Hash, Size: e.File.Size, AllowDowngrade: e.AllowDowngrade, Health: e.Health, After: e.Sequence,
	}, true
}
