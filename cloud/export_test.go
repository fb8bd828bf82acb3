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
