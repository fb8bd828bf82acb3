package cloud

import (
	"context"
	"time"

	"telltale.dev/cloud/backbone"
)

// trimEvery is how often the streams are looked at.
const trimEvery = 2 * time.Second

// trim lets the streams forget what the lake has, when they need the room: else a
// stream that is full would refuse everything for ever. Dead letters stay.
func (c *Cloud) trim(ctx context.Context) error {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := c.trimLanes(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			c.cfg.Log.Warn("streams cannot be trimmed, tried again", "err", err)
		}
		failed = err != nil
	}
}

func (c *Cloud) trimLanes(ctx context.Context) error {
	for i, stream := range lanes() {
		if _, err := c.backbone.Trim(ctx, stream, c.lanes[i].Checkpoint()); err != nil {
			return err
		}
	}
	return nil
}

// lanes are the streams that end in the lake.
func lanes() []string { return []string{backbone.Up, backbone.Low} }
