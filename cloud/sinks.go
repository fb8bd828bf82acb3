package cloud

import (
	"cmp"
	"context"
	"math"
	"path/filepath"
	"slices"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/lake"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// openIngest joins the streams: front → stream → processor → lake and consumers.
func (c *Cloud) openIngest(ctx context.Context) error {
	places, err := c.backbone.Store("consumers")
	if err != nil {
		return err
	}
	for _, name := range lakeStreams() {
		if err := c.openProcessor(ctx, name, places); err != nil {
			return err
		}
	}
	c.checkRegistry()
	c.arrivals.Processors = c.processors
	c.front, err = ingest.NewFront(ingest.FrontConfig{
		Publisher: c.backbone, Registry: c.registry, Schemas: c.arrivals.Schemas, Quota: c.cfg.Quota, Log: c.cfg.Log,
	})
	return err
}

// checkRegistry says that vehicles are missing which sent before. Of deleted ones the
// registry knows that they were, so that means damage, of which JetStream says nothing that is clear.
func (c *Cloud) checkRegistry() {
	missing := map[protocol.VehicleID]bool{}
	for _, processor := range c.processors {
		for _, vid := range processor.Ledger().Vehicles() {
			if _, ok := c.registry.Vehicle(vid); !ok && !c.registry.WasDeleted(vid) {
				missing[vid] = true
			}
		}
	}
	if len(missing) > 0 {
		c.cfg.Log.Error("the registry has lost vehicles that the ledger knows: its files are damaged, restore them from a backup", "vehicles", len(missing))
	}
}

// openProcessor joins one stream with its processor, whose consumers keep their checkpoints in places.
func (c *Cloud) openProcessor(ctx context.Context, name string, places backbone.Store) error {
	extent, err := c.backbone.Info(ctx, name)
	if err != nil {
		return err
	}
	files, err := lake.Open(lake.Config{Dir: filepath.Join(c.cfg.Dir, "lake"), Stream: name, Oldest: extent.First, Fold: ingest.Fold, Log: c.cfg.Log})
	if err != nil {
		return err
	}
	c.lakes = append(c.lakes, files)
	processor, err := ingest.NewProcessor(ingest.ProcessorConfig{
		Name: name, Stream: c.backbone.Feed(name), Publisher: c.backbone, Schemas: c.arrivals.Schemas,
		Letters: c.backbone.Feed(backbone.Dead), Lake: files, Consumers: c.consumers(), Checkpoints: places,
		Debit: func(vid protocol.VehicleID, urgent bool, samples int) { c.front.Debit(vid, urgent, samples) }, // opened after the streams, before they run
		Times: c.cfg.Times, FlushAge: c.cfg.Flush, Patience: c.cfg.patience, Log: c.cfg.Log,
	})
	c.processors = append(c.processors, processor)
	return err
}

// consumers are who is told of what comes in, beside the lake.
func (c *Cloud) consumers() []ingest.Consumer {
	list := []ingest.Consumer{
		{Name: "state", Batch: c.applyState, Save: c.states.Save},
	}
	for _, o := range c.rooms {
		if len(o.takes) > 0 {
			list = append(list, c.consumer(o))
		}
	}
	return append(list, c.cfg.consumers...)
}

// applyState keeps the last known state and tells who watches.
func (c *Cloud) applyState(ctx context.Context, b *ingest.Decoded) error {
	if c.registry.WasDeleted(b.Vehicle) { // it was on its way; the lake keeps it
		return nil
	}
	c.states.Apply(b.Vehicle, b.Schema, b.Batch, b.Received, false)
	vid := string(b.Vehicle)
	if wanted := c.live.Wanted(vid); wanted != nil {
		c.live.PublishSamples(vid, string(b.Device), samples(b.Schema, b.Batch, wanted))
	}
	return c.forgetLate(ctx, b.Vehicle, nil)
}

// samples gives those of a batch that somebody watches, in the order of time.
func samples(schema *schemas.Schema, b *batches.Batch, wanted *api.Wanted) []api.Sample {
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
				if v := def.Validity(g.Columns[c][row]); v != signal.Valid {
					sample.Value, sample.Quality = math.NaN(), v.String()
				}
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
