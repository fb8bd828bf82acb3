package cloud

import (
	"context"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
)

// healthWait is how long the backbone may take to answer.
const healthWait = 2 * time.Second

// health tells whether the cloud can store and process.
func (c *Cloud) health(ctx context.Context) api.Health {
	h := api.Health{Version: c.cfg.Version, Uptime: time.Since(c.started).Seconds()}
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	h.Problems = c.backbone.Refusals()
	for _, stream := range []string{backbone.Up, backbone.Low} {
		if _, err := c.backbone.Info(ctx, stream); err != nil && h.Problems["backbone"] == "" {
			h.Problems["backbone"] = "it does not answer: " + err.Error()
		}
	}
	for _, l := range c.processors {
		if l.Stats().Waiting {
			h.Problems["ingest"] = "processing waits for a stream, a store or the lake; see the log"
		}
		for _, s := range l.Consumers() {
			if s.Failing {
				h.Problems["consumer "+s.Name] = "it refuses a message, which is offered again; see the log"
			}
		}
	}
	h.OK = len(h.Problems) == 0
	return h
}
