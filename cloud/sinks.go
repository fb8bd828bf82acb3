package cloud

import (
	"context"
	"path/filepath"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/lake"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// openLane joins one stream with its processor.
func (c *Cloud) openLane(name string, p publisher, schemas schemaStore) (*lane, error) {
	l, err := lake.Open(lake.Config{Dir: filepath.Join(c.cfg.Dir, "lake"), Stream: name, Log: c.cfg.Log})
	if err != nil {
		return nil, err
	}
	processor, err := ingest.NewProcessor(ingest.ProcessorConfig{
		Name: name, Stream: stream{c.backbone, name}, Publisher: p, Schemas: schemas, Lake: l,
		Sinks: []ingest.Sink{stateSink{c}}, OtherSinks: []ingest.OtherSink{statusSink{c}},
		FlushAge: c.cfg.Flush, Log: c.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return &lane{processor: processor}, nil
}

// stateSink keeps the last known state and tells who watches.
type stateSink struct{ *Cloud }

// Apply implements ingest.Sink.
func (s stateSink) Apply(_ context.Context, b *ingest.Decoded) error {
	changed := s.states.Apply(b.Vehicle, b.Schema, b.Batch)
	if vid := string(b.Vehicle); len(changed) > 0 && s.live.Watched(vid) {
		events := make(api.Events, len(changed))
		for i, v := range changed {
			events[i] = event(v)
		}
		s.live.Publish(vid, events)
	}
	return nil
}

func event(v state.Value) api.Event {
	return api.Event{
		Time: time.UnixMicro(v.Time).UTC(), Bus: v.Bus, Message: v.Message, Signal: v.Signal,
		Value: api.Number(v.Value), Text: v.Text, Unit: v.Unit,
	}
}

// statusSink hands a vehicle's word on its documents to the campaigns.
type statusSink struct{ *Cloud }

// Receive implements ingest.OtherSink.
func (s statusSink) Receive(_ context.Context, m *ingest.Other) error {
	if m.Topic.Kind != protocol.KindConfigStatus {
		return nil
	}
	var status protocol.DocumentStatus
	if err := codec.Unmarshal(m.Payload, &status); err != nil {
		s.cfg.Log.Warn("document status is unreadable", "error", err)
		return nil
	}
	s.campaigns.Report(m.Topic.Vehicle, status)
	return nil
}

// snapshotEvery is how often changed state goes to disk. What a crash loses is
// applied again from the stream only as far back as the lake's last commit, so
// it must not be longer than the lake's flush by much.
const snapshotEvery = 5 * time.Second

// keepSnapshots saves changed state until ctx ends, and once more then.
func (c *Cloud) keepSnapshots(ctx context.Context) error {
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.states.Save(context.WithoutCancel(ctx), c.snapshots)
		case <-tick.C:
			if err := c.states.Save(ctx, c.snapshots); err != nil && ctx.Err() == nil {
				c.cfg.Log.Warn("state snapshot not written; trying again", "error", err)
			}
		}
	}
}
