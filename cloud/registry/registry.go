// Package registry knows the vehicles and their devices: who they are, whether
// they are allowed to take part, and what they lost.
//
// Checks are answered from memory and never wait for the disk; changes are on
// disk before they return. Enrolment and part replacement are not here yet: in
// development mode a device with a certificate of the development CA registers
// itself at its first connection.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
)

// Errors that callers branch on.
var (
	// ErrUnknown: the vehicle, or the device of it, is not registered.
	ErrUnknown = errors.New("vehicle or device is not registered")
	// ErrNotActive: the vehicle is suspended.
	ErrNotActive = errors.New("vehicle is not active")
	// ErrLeaving: the vehicle was deleted, and what other rooms keep of it is not all gone yet.
	ErrLeaving = errors.New("vehicle is being deleted")
	// ErrFull: the vehicle has MaxDevices.
	ErrFull = errors.New("vehicle has too many devices")
)

// MaxDevices is how many devices a vehicle may have.
const MaxDevices = 64

// Lifecycle is where a vehicle stands.
type Lifecycle string

// The states in use so far.
const (
	Active    Lifecycle = "ACTIVE"
	Suspended Lifecycle = "SUSPENDED"
	// Deleted is what stays of a vehicle that was deleted: nobody sees the entry, and it
	// takes some 100 bytes, so that it can be told from one that was lost by damage.
	Deleted Lifecycle = "DELETED"
)

// Vehicle is one entry. It is never changed in place: who has one may keep and read it.
type Vehicle struct {
	ID         protocol.VehicleID `json:"vid"`
	State      Lifecycle          `json:"state"`
	Registered time.Time          `json:"registered"`
	Devices    []Device           `json:"devices"`
	// Leaving is said of one that was deleted until Gone is called: a deletion that is cut short goes on at the next start.
	Leaving bool `json:"leaving,omitempty"`
}

// Device is one telematics device of a vehicle.
type Device struct {
	ID         protocol.DeviceID `json:"did"`
	Registered time.Time         `json:"registered"`
	// Loss is the last one; nil: none that was told. It is never changed in place.
	Loss *Loss `json:"loss,omitempty"`
}

// Store keeps entries by key; Put returns when the value is on disk.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	List(ctx context.Context) (map[string][]byte, error)
}

// writers is how many vehicles may be changed at once, each by one caller at a
// time; they share the disk's syncs.
const writers = 64

// Registry may be used from any goroutine.
type Registry struct {
	store Store
	seed  maphash.Seed
	// changing orders the changes of one vehicle; mu is taken and released under it.
	changing [writers]sync.Mutex
	mu       sync.RWMutex // guards vehicles; never held while the store works
	vehicles map[protocol.VehicleID]Vehicle
}

// Open loads all entries.
func Open(ctx context.Context, store Store) (*Registry, error) {
	entries, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{store: store, seed: maphash.MakeSeed(), vehicles: make(map[protocol.VehicleID]Vehicle, len(entries))}
	for key, value := range entries {
		var v Vehicle
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, fmt.Errorf("registry: entry is unreadable: %w", err)
		}
		if string(v.ID) != key {
			return nil, errors.New("registry: entry is kept under the key of another vehicle")
		}
		r.vehicles[v.ID] = v
	}
	return r, nil
}

// Active returns nil when the device belongs to a registered, active vehicle, else ErrUnknown or ErrNotActive.
func (r *Registry) Active(vid protocol.VehicleID, did protocol.DeviceID) error {
	v, ok := r.Vehicle(vid)
	switch {
	case !ok || !v.has(did):
		return ErrUnknown
	case v.State != Active:
		return ErrNotActive
	}
	return nil
}

func (v *Vehicle) has(did protocol.DeviceID) bool {
	return slices.ContainsFunc(v.Devices, func(d Device) bool { return d.ID == did })
}

// Register adds a vehicle, active from now, or a device of it. What is there stays
// as it is; a device that is added to a suspended vehicle is as suspended as the others. The error wraps ErrLeaving
// while a vehicle of that name is being deleted: what is left of it would become the new one's.
func (r *Registry) Register(ctx context.Context, vid protocol.VehicleID, did protocol.DeviceID, now time.Time) error {
	return r.change(ctx, vid, func(v *Vehicle) error {
		if r.deleted(vid).Leaving {
			return ErrLeaving
		}
		if v.ID == "" {
			*v = Vehicle{ID: vid, State: Active, Registered: now.UTC()}
		}
		switch {
		case v.has(did):
			return errUnchanged
		case len(v.Devices) >= MaxDevices:
			return ErrFull
		}
		v.Devices = append(slices.Clone(v.Devices), Device{ID: did, Registered: now.UTC()})
		return nil
	})
}

// SetState suspends or re-activates a vehicle; the error wraps ErrUnknown when there is none.
func (r *Registry) SetState(ctx context.Context, vid protocol.VehicleID, s Lifecycle) error {
	return r.change(ctx, vid, func(v *Vehicle) error {
		switch {
		case v.ID == "":
			return ErrUnknown
		case v.State == s:
			return errUnchanged
		}
		v.State = s
		return nil
	})
}

// Delete forgets a vehicle and its devices; the error wraps ErrUnknown when there is none. It is Leaving until Gone is called.
// A device that is registered then makes a new vehicle of that name.
func (r *Registry) Delete(ctx context.Context, vid protocol.VehicleID) error {
	return r.change(ctx, vid, func(v *Vehicle) error {
		if v.ID == "" {
			return ErrUnknown
		}
		*v = Vehicle{ID: vid, State: Deleted, Registered: v.Registered, Leaving: true}
		return nil
	})
}

// Gone says that nothing of a deleted vehicle is left in other rooms.
func (r *Registry) Gone(ctx context.Context, vid protocol.VehicleID) error {
	return r.change(ctx, vid, func(v *Vehicle) error {
		left := r.deleted(vid)
		if !left.Leaving {
			return errUnchanged
		}
		*v = left
		v.Leaving = false
		return nil
	})
}

// deleted gives the entry of a vehicle that was deleted and not registered since; else an empty one.
func (r *Registry) deleted(vid protocol.VehicleID) (v Vehicle) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if v = r.vehicles[vid]; v.State != Deleted {
		return Vehicle{}
	}
	return v
}

// WasDeleted says whether a vehicle was deleted and not registered since.
func (r *Registry) WasDeleted(vid protocol.VehicleID) bool {
	return r.deleted(vid).State == Deleted
}

// Leaving lists the vehicles whose deletion is not finished, in no order.
func (r *Registry) Leaving() (list []protocol.VehicleID) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for vid, v := range r.vehicles {
		if v.Leaving {
			list = append(list, vid)
		}
	}
	return list
}

// errUnchanged is what an edit returns when there is nothing to write.
var errUnchanged = errors.New("unchanged")

// change applies edit to a copy of an entry and keeps it, on disk before in memory.
func (r *Registry) change(ctx context.Context, vid protocol.VehicleID, edit func(*Vehicle) error) error {
	lock := &r.changing[maphash.String(r.seed, string(vid))%writers]
	lock.Lock()
	defer lock.Unlock()
	v, _ := r.Vehicle(vid)
	if err := edit(&v); errors.Is(err, errUnchanged) {
		return nil
	} else if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	value, err := json.Marshal(v)
	if err == nil {
		err = r.store.Put(ctx, string(vid), value)
	}
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vehicles[vid] = v
	return nil
}

// Vehicle gives one entry.
func (r *Registry) Vehicle(vid protocol.VehicleID) (Vehicle, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, ok := r.vehicles[vid]
	if v.State == Deleted {
		return Vehicle{}, false
	}
	return v, ok
}

// Vehicles lists all entries by identifier.
func (r *Registry) Vehicles() []Vehicle {
	r.mu.RLock()
	list := make([]Vehicle, 0, len(r.vehicles))
	for _, v := range r.vehicles {
		if v.State != Deleted {
			list = append(list, v)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(list, func(a, b Vehicle) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return list
}
