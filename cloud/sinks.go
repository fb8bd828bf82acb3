package cloud

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/lake"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
)

// openIngest joins the lanes: front → stream → processor → lake and sinks.
func (c *Cloud) openIngest(ctx context.Context) error {
	bucket, err := c.bucket("schemas")
	if err != nil {
		return err
	}
	accounts, err := c.bucket("schema-accounts")
	if err != nil {
		return err
	}
	c.schemas = schemaStore{store: bucket, accounts: accounts, seed: maphash.MakeSeed(), counting: new([64]sync.Mutex)}
	for _, name := range lanes() {
		if err := c.openLane(ctx, name); err != nil {
			return err
		}
	}
	c.checkRegistry()
	c.replayer = &ingest.Replayer{Dead: stream{c.backbone, backbone.Dead}, Publisher: publisher{c.backbone}}
	c.front, err = ingest.NewFront(ingest.FrontConfig{
		Publisher: publisher{c.backbone}, Registry: c.registry, Schemas: c.schemas, Quota: c.cfg.Quota, Log: c.cfg.Log,
	})
	return err
}

// checkRegistry says that vehicles are missing which sent before. Of deleted ones the
// registry knows that they were, so that means damage, of which JetStream says nothing that is clear.
func (c *Cloud) checkRegistry() {
	missing := map[protocol.VehicleID]bool{}
	for _, lane := range c.lanes {
		for _, vid := range lane.Ledger().Vehicles() {
			if _, ok := c.registry.Vehicle(vid); !ok && !c.registry.WasDeleted(vid) {
				missing[vid] = true
			}
		}
	}
	if len(missing) > 0 {
		c.cfg.Log.Error("the registry has lost vehicles that the ledger knows: its files are damaged, restore them from a backup", "vehicles", len(missing))
	}
}

// openLane joins one stream with its processor.
func (c *Cloud) openLane(ctx context.Context, name string) error {
	extent, err := c.backbone.Info(ctx, name)
	if err != nil {
		return err
	}
	files, err := lake.Open(lake.Config{Dir: filepath.Join(c.cfg.Dir, "lake"), Stream: name, Oldest: extent.First, Log: c.cfg.Log})
	if err != nil {
		return err
	}
	processor, err := ingest.NewProcessor(ingest.ProcessorConfig{
		Name: name, Stream: stream{c.backbone, name}, Publisher: publisher{c.backbone}, Schemas: c.schemas,
		Letters: stream{c.backbone, backbone.Dead},
		Lake:    savedFirst{files, c}, Sinks: []ingest.Sink{stateSink{c}}, OtherSinks: []ingest.OtherSink{statusSink{c}},
		Debit: func(vid protocol.VehicleID, urgent bool, samples int) { c.front.Debit(vid, urgent, samples) }, // opened after the lanes, before they run
		Times: c.cfg.Times, FlushAge: c.cfg.Flush, Log: c.cfg.Log,
	})
	c.lanes = append(c.lanes, processor)
	return err
}

// savedFirst saves what the sinks made of the stream before each commit of the
// lake: what is behind a commit is never read again, so it must be on disk by then.
type savedFirst struct {
	*lake.Lake
	cloud *Cloud
}

// saveWait bounds the saving before a commit, which is tried again.
const saveWait = time.Minute

// Commit implements ingest.Lake.
func (l savedFirst) Commit(last uint64, ledger []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), saveWait)
	defer cancel()
	if err := l.cloud.states.Save(ctx, l.cloud.snapshots); err != nil {
		return fmt.Errorf("before the lake's commit: %w", err)
	}
	if err := l.cloud.campaigns.Save(ctx); err != nil {
		return fmt.Errorf("before the lake's commit: %w", err)
	}
	return l.Lake.Commit(last, ledger)
}

// stateSink keeps the last known state and tells who watches.
type stateSink struct{ *Cloud }

// Apply implements ingest.Sink.
func (s stateSink) Apply(_ context.Context, b *ingest.Decoded) error {
	if s.registry.WasDeleted(b.Vehicle) { // it was on its way; the lake keeps it
		return nil
	}
	s.states.Apply(b.Vehicle, b.Schema, b.Batch, b.Received, false)
	vid := string(b.Vehicle)
	if wanted := s.live.Wanted(vid); wanted != nil {
		s.live.PublishSamples(vid, string(b.Device), samples(b.Schema, b.Batch, wanted))
	}
	return nil
}

// samples gives those of a batch that somebody watches, in the order of time.
func samples(schema *codec.Schema, b *codec.Batch, wanted *api.Wanted) []api.Sample {
	infos := make([]*api.SignalInfo, len(schema.Signals))
	for i := range schema.Signals {
		if def := &schema.Signals[i]; wanted.Signal(def.Name) {
			infos[i] = &api.SignalInfo{Bus: def.Bus, Message: def.Message, Name: def.Name, Unit: def.Unit}
		}
	}
	var list []api.Sample
	for i := range b.Rows {
		g := &b.Rows[i]
		for c, index := range schema.Groups[g.Group] {
			if infos[index] == nil {
				continue
			}
			def := &schema.Signals[index]
			for row, t := range g.Time {
				if !g.Has(c, row) {
					continue
				}
				sample := api.Sample{Time: t, Signal: infos[index], Value: def.Physical(g.Columns[c][row])}
				if text, _ := def.Text(g.Columns[c][row]); len(text) <= state.MaxText {
					sample.Text = text
				}
				list = append(list, sample)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b api.Sample) int { return cmp.Compare(a.Time, b.Time) })
	return list
}

// statusSink hands a vehicle's word on its documents to the campaigns, on its
// firmware to the updates, and on its data partition to the registry.
type statusSink struct{ *Cloud }

// Receive implements ingest.OtherSink.
func (s statusSink) Receive(ctx context.Context, m *ingest.Other) error {
	switch m.Topic.Kind {
	case topics.ConfigStatus:
	case topics.UpdateFeedback:
		return s.feedback(ctx, m)
	case topics.Event:
		if m.Topic.Name == events.TypeStorage {
			return s.storage(ctx, m)
		}
		return nil
	default:
		return nil
	}
	var status document.Status
	if err := document.UnmarshalOpen(m.Payload, &status); err != nil {
		if s.unreadable.Add(1) == 1 {
			s.cfg.Log.Warn("a document status is unreadable, more are only counted", "err", err)
		}
		return nil // it will never be better
	}
	s.campaigns.Report(m.Topic.Vehicle, status)
	return nil
}
