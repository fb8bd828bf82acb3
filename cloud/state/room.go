package state

import (
	"context"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// Room is the States of a running cloud: it keeps them on disk and shows them.
type Room struct {
	*States
	ground backbone.Ground
}

// Open loads what was saved.
func Open(ctx context.Context, ground backbone.Ground) (*Room, error) {
	r := &Room{New(), ground}
	unreadable, err := r.Load(ctx, ground.Store)
	if unreadable > 0 {
		ground.Log.Warn("state snapshots are unreadable and left out", "snapshots", unreadable)
	}
	return r, err
}

// Save is an ability of rooms.
func (r *Room) Save(ctx context.Context) error { return r.States.Save(ctx, r.ground.Store) }

// Forget is an ability of rooms.
func (r *Room) Forget(ctx context.Context, vid protocol.VehicleID) error {
	return r.Remove(ctx, r.ground.Store, vid)
}

// Retained is an ability of rooms: the presence of a vehicle's devices.
func (r *Room) Retained(vid protocol.VehicleID) (list []backbone.Outgoing) {
	for _, p := range r.Presence(vid) {
		topic := topics.Topic{Kind: topics.Presence, Vehicle: vid, Device: p.Device}
		list = append(list, backbone.Outgoing{Topic: topic, Payload: p.Said, ContentType: protocol.ContentPresence, Kept: true})
	}
	return list
}
