package cloud

import (
	"context"
	"errors"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
)

// DeleteVehicle implements api.Vehicles. The registry goes first, so that nothing of the
// vehicle is taken any more; after an error the call can be repeated. What is left of it:
//
//   - the lake's rows, for ever, and the ledger, which knows what is in them: a batch that
//     comes again is not stored twice, and who looks into the lake sees what is missing
//   - its messages in the streams, until these need the room
//   - in the registry its name, when it came, and that it was deleted: what was on its way is
//     thrown away instead of being taken for a vehicle whose entry was lost
//   - schema documents, which many vehicles share: the lake's rows were read by them
func (v views) DeleteVehicle(ctx context.Context, vid string) (bool, error) {
	id := protocol.VehicleID(vid)
	err := v.registry.Delete(ctx, id)
	if errors.Is(err, registry.ErrUnknown) && !v.registry.WasDeleted(id) {
		return false, nil
	}
	if err != nil && !errors.Is(err, registry.ErrUnknown) {
		return true, err
	}
	known := err == nil
	v.broker.Forget(id, ingest.CodeNotAuthorized)
	v.front.Forget(id)
	return known, v.finishDeletion(ctx, id)
}

// finishDeletion has all rooms drop what they keep of a vehicle. Until all have, the vehicle counts as leaving.
func (v views) finishDeletion(ctx context.Context, vid protocol.VehicleID) error {
	if err := errors.Join(v.forget(ctx, vid), v.schemas.forget(ctx, vid), v.dismissVehicle(ctx, vid)); err != nil {
		return err
	}
	return v.registry.Gone(ctx, vid)
}

// forget has the rooms drop what they keep of a vehicle that was deleted, in memory and on disk. It is called also after one
// of them took something that was on its way while the vehicle was deleted.
func (c *Cloud) forget(ctx context.Context, vid protocol.VehicleID) error {
	err := c.states.Remove(ctx, c.snapshots, vid)
	for _, room := range able[forgetter](c.rooms) {
		err = errors.Join(err, room.Forget(ctx, vid))
	}
	return err
}

// forgetLate is the end of a room's work for a vehicle that may have been deleted meanwhile.
func (c *Cloud) forgetLate(ctx context.Context, vid protocol.VehicleID, err error) error {
	if c.registry.WasDeleted(vid) {
		return errors.Join(err, c.forget(ctx, vid))
	}
	return err
}

// finishDeletions does what a crash within DeleteVehicle, or a full disk, left undone. What cannot be done now waits for
// the next start, or for who deletes the vehicle again: until then nobody sees it, and it cannot come back.
func (c *Cloud) finishDeletions(ctx context.Context) error {
	for _, vid := range c.registry.Leaving() {
		if err := (views{c}).finishDeletion(ctx, vid); err != nil {
			c.cfg.Log.Warn("a deletion of a vehicle that was cut short is not finished; the next start tries again", "err", err)
		}
	}
	return nil
}

// dismissVehicle takes the dead letters of a vehicle out of their stream.
func (v views) dismissVehicle(ctx context.Context, vid protocol.VehicleID) error {
	info, err := v.backbone.Info(ctx, backbone.Dead)
	if err != nil || info.Messages == 0 {
		return err
	}
	return v.eachLetter(ctx, info.First, info.Last, func(m backbone.Message) error {
		if deadLetter(m).Vehicle != string(vid) {
			return nil
		}
		_, err := v.backbone.Delete(ctx, backbone.Dead, m.Sequence)
		return err
	})
}
