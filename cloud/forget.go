package cloud

import (
	"context"
	"errors"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
)

// deleteVehicle has all rooms forget a vehicle, and says whether there was one. The registry goes first, so that nothing
// of the vehicle is taken any more; after an error the call can be repeated. What is left of it:
//
//   - the lake's rows, for ever, and the ledger, which knows what is in them: a batch that
//     comes again is not stored twice, and who looks into the lake sees what is missing
//   - its messages in the streams, until these need the room
//   - in the registry its name, when it came, and that it was deleted: what was on its way is
//     thrown away instead of being taken for a vehicle whose entry was lost
//   - schema documents, which many vehicles share: the lake's rows were read by them
func (c *Cloud) deleteVehicle(ctx context.Context, vid protocol.VehicleID) (known bool, err error) {
	err = c.registry.Delete(ctx, vid)
	if errors.Is(err, registry.ErrUnknown) && !c.registry.WasDeleted(vid) {
		return false, nil
	}
	if err != nil && !errors.Is(err, registry.ErrUnknown) {
		return true, err
	}
	known = err == nil
	c.broker.Forget(vid, ingest.CodeNotAuthorized)
	c.front.Forget(vid)
	if err := c.finishDeletion(ctx, vid); err != nil || !known {
		return known, err
	}
	c.live.End(string(vid))
	return true, nil
}

// finishDeletion has all rooms drop what they keep of a vehicle. Until all have, the vehicle counts as leaving.
func (c *Cloud) finishDeletion(ctx context.Context, vid protocol.VehicleID) error {
	if err := errors.Join(c.forget(ctx, vid), c.arrivals.Schemas.Forget(ctx, vid), c.arrivals.Letters.Forget(ctx, vid)); err != nil {
		return err
	}
	return c.registry.Gone(ctx, vid)
}

// forget has the rooms drop what they keep of a vehicle that was deleted, in memory and on disk. It is called also after one
// of them took something that was on its way while the vehicle was deleted.
func (c *Cloud) forget(ctx context.Context, vid protocol.VehicleID) (err error) {
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
		if err := c.finishDeletion(ctx, vid); err != nil {
			c.cfg.Log.Warn("a deletion of a vehicle that was cut short is not finished; the next start tries again", "err", err)
		}
	}
	return nil
}
