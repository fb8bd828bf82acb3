package registry

import (
	"context"
	"slices"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/events"
)

// Loss is a loss of a device's data partition, by its own word.
type Loss struct {
	Name   string              `json:"name"`
	State  events.StorageState `json:"state"` // recreated or memory-only
	Reason string              `json:"reason,omitempty"`
	Told   time.Time           `json:"told"`          // by the cloud's clock
	Over   time.Time           `json:"over,omitzero"` // when the device told of a start that found its data; zero: not since
}

// Storage takes a device's valid word on its data partition, received at a time, and
// says whether anything is new. The same word again changes nothing, nor does one older
// than what is known. The error wraps ErrUnknown when the device is not registered.
func (r *Registry) Storage(ctx context.Context, vid protocol.VehicleID, s events.Storage, received time.Time) (changed bool, err error) {
	err = r.change(ctx, vid, func(v *Vehicle) error {
		i := slices.IndexFunc(v.Devices, func(d Device) bool { return d.ID == s.Device })
		if i < 0 {
			return ErrUnknown
		}
		next := v.Devices[i].Loss.after(s, received.UTC())
		if next == nil {
			return errUnchanged
		}
		v.Devices = slices.Clone(v.Devices)
		v.Devices[i].Loss, changed = next, true
		return nil
	})
	return changed && err == nil, err
}

// after gives what is known after a word; nil when that is nothing new. l may be nil.
func (l *Loss) after(s events.Storage, received time.Time) *Loss {
	switch {
	case l != nil && (received.Before(l.Told) || l.Name == s.Loss):
		return nil
	case s.State.Lost():
		return &Loss{Name: s.Loss, State: s.State, Reason: s.Reason, Told: received}
	case l == nil || !l.Over.IsZero():
		return nil
	}
	over := *l
	over.Over = received
	return &over
}
