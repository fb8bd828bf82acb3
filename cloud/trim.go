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
		err := c.trimStreams(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			c.cfg.Log.Warn("streams cannot be trimmed, tried again", "err", err)
		}
		failed = err != nil
	}
}

func (c *Cloud) trimStreams(ctx context.Context) error {
	for i, stream := range lakeStreams() {
		processor := c.processors[i]
		needed := processor.Needed()
		_, err := c.backbone.Trim(ctx, stream, needed)
		if err == nil && needed < processor.Checkpoint() {
			var pressed bool
			if pressed, err = c.backbone.Pressed(ctx, stream); pressed {
				processor.Relieve()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lakeStreams are the streams that end in the lake.
func lakeStreams() []string { return []string{backbone.Up, backbone.Low} }
