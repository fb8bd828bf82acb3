// Package registry knows the vehicles and their devices: who they are and
// whether they are allowed to take part.
//
// Checks are answered from memory; changes are on disk before they return.
// Enrolment and part replacement are not here yet: in development mode a device
// with a certificate of the development CA registers itself at its first connection.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
)

// Errors of Active.
var (
	ErrUnknown   = errors.New("vehicle or device is not registered")
	ErrNotActive = errors.New("vehicle is not active")
)

// Lifecycle is where a vehicle stands.
type Lifecycle string

// The states in use so far.
const (
	Active    Lifecycle = "ACTIVE"
	Suspended Lifecycle = "SUSPENDED"
)

// Vehicle is one entry.
type Vehicle struct {
	ID         protocol.VehicleID `json:"vid"`
	State      Lifecycle          `json:"state"`
	Registered time.Time          `json:"registered"`
	Devices    []Device           `json:"devices"`
}

// Device is one telematics device of a vehicle.
type Device struct {
	ID         protocol.DeviceID `json:"did"`
	Registered time.Time         `json:"registered"`
}

// Store keeps entries by key; Put returns when the value is on disk.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	List(ctx context.Context) (map[string][]byte, error)
}

// Registry may be used from any goroutine.
type Registry struct {
	store    Store
	mu       sync.RWMutex // guards vehicles
	vehicles map[protocol.VehicleID]Vehicle
}

// Open loads all entries.
func Open(ctx context.Context, store Store) (*Registry, error) {
	entries, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{store: store, vehicles: make(map[protocol.VehicleID]Vehicle, len(entries))}
	for _, value := range entries {
		var v Vehicle
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, fmt.Errorf("registry: entry: %w", err)
		}
		r.vehicles[v.ID] = v
	}
	return r, nil
}

// Active returns nil when the device belongs to a registered, active vehicle.
func (r *Registry) Active(vid protocol.VehicleID, did protocol.DeviceID) error {
	r.mu.RLock()
	v, ok := r.vehicles[vid]
	r.mu.RUnlock()
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

// Register adds a vehicle or a device of it, active from now. An entry that is there stays as it is.
func (r *Registry) Register(ctx context.Context, vid protocol.VehicleID, did protocol.DeviceID, now time.Time) error {
	return r.change(ctx, vid, func(v *Vehicle) bool {
		if v.ID == "" {
			*v = Vehicle{ID: vid, State: Active, Registered: now.UTC()}
		}
		if v.has(did) {
			return false
		}
		v.Devices = append(slices.Clone(v.Devices), Device{ID: did, Registered: now.UTC()})
		return true
	})
}

// SetState suspends or re-activates a vehicle; the error wraps ErrUnknown when there is none.
func (r *Registry) SetState(ctx context.Context, vid protocol.VehicleID, s Lifecycle) error {
	known := true
	err := r.change(ctx, vid, func(v *Vehicle) bool {
		if known = v.ID != ""; !known || v.State == s {
			return false
		}
		v.State = s
		return true
	})
	if err == nil && !known {
		return ErrUnknown
	}
	return err
}

// change applies edit to an entry and keeps it when edit says that it changed.
func (r *Registry) change(ctx context.Context, vid protocol.VehicleID, edit func(*Vehicle) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.vehicles[vid]
	if !edit(&v) {
		return nil
	}
	value, err := json.Marshal(v)
	if err == nil {
		err = r.store.Put(ctx, string(vid), value)
	}
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	r.vehicles[vid] = v
	return nil
}

// Vehicle gives one entry.
func (r *Registry) Vehicle(vid protocol.VehicleID) (Vehicle, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, ok := r.vehicles[vid]
	return v, ok
}

// Vehicles lists all entries by identifier.
func (r *Registry) Vehicles() []Vehicle {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Vehicle, 0, len(r.vehicles))
	for _, v := range r.vehicles {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Vehicle) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return list
}
