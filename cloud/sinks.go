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
func (c *Cloud) openLane(name string, p publisher) (*lane, error) {
	l, err := lake.Open(lake.Config{Dir: filepath.Join(c.cfg.Dir, "lake"), Stream: name, Log: c.cfg.Log})
	if err != nil {
		return nil, err
	}
	processor, err := ingest.NewProcessor(ingest.ProcessorConfig{
		Name: name, Stream: stream{c.backbone, name}, Publisher: p, Schemas: c.schemas, Lake: stateFirst{l, c},
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

// stateFirst saves the changed state before each commit of the lake: batches
// behind a commit are never offered again, so their state must be on disk by then.
type stateFirst struct {
	*lake.Lake
	cloud *Cloud
}

// Commit implements ingest.Lake.
func (l stateFirst) Commit(last uint64, ledger []byte) error {
	if err := l.cloud.states.Save(context.Background(), l.cloud.snapshots); err != nil {
		return err
	}
	return l.Lake.Commit(last, ledger)
}
