package cloud

import (
	"context"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
)

// WithConsumer adds a consumer, and says how long one that refuses is offered a message.
func WithConsumer(cfg Config, c ingest.Consumer, patience time.Duration) Config {
	cfg.consumers, cfg.patience = append(cfg.consumers, c), patience
	return cfg
}

// WithRoom adds a line to the table of rooms.
func WithRoom[R any](cfg Config, name string, open func(context.Context, backbone.Ground) (R, error)) Config {
	cfg.rooms = append(cfg.rooms, room(name, open))
	return cfg
}

// Written counts the messages stored in streams since the start, and the changes that the registry has stored, of which
// that of vehicle vid is the newest.
func (c *Cloud) Written(ctx context.Context, vid string) (messages, registrations uint64, err error) {
	bucket, err := c.backbone.Bucket("vehicles")
	if err != nil {
		return 0, 0, err
	}
	entry, err := bucket.Get(ctx, vid)
	return c.backbone.Stats().Stored, entry.Revision, err
}
