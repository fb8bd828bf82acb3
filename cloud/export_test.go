package cloud

import (
	"time"

	"telltale.dev/cloud/ingest"
)

// WithConsumer adds a consumer, and says how long one that refuses is offered a message.
func WithConsumer(cfg Config, c ingest.Consumer, patience time.Duration) Config {
	cfg.consumers, cfg.patience = append(cfg.consumers, c), patience
	return cfg
}
