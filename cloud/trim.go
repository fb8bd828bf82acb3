package cloud

import (
	"context"
	"time"

	"telltale.dev/cloud/backbone"
)

// trimEvery is how often the streams are looked at.
const trimEvery = 2 * time.Second

// trim lets the streams forget what the lake and all consumers have, when they need the room: else
// a stream that is full would refuse everything for ever. When a stream still needs room, and a
// consumer stands in the way of what the lake has, what that one refuses becomes dead letters.
// The lake is waited for: a copy of its messages would need the same room. Dead letters stay.
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
		lane := c.lanes[i]
		needed := lane.Needed()
		_, err := c.backbone.Trim(ctx, stream, needed)
		if err == nil && needed < lane.Checkpoint() {
			var pressed bool
			if pressed, err = c.backbone.Pressed(ctx, stream); pressed {
				lane.Relieve()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lanes are the streams that end in the lake.
func lanes() []string { return []string{backbone.Up, backbone.Low} }
