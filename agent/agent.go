// Package agent is the vehicle's side: it reads buses, decodes and collects
// what campaigns want, keeps it on disk and hands it to the cloud. Read Run as
// the table of contents; each stage is a package of its own.
package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/campaign"
	"telltale.dev/agent/collect"
	"telltale.dev/agent/config"
	"telltale.dev/agent/frames"
	"telltale.dev/agent/link"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/agent/network"
	"telltale.dev/agent/outbox"
	"telltale.dev/agent/power"
	"telltale.dev/agent/signals"
	"telltale.dev/agent/storage"
	"telltale.dev/agent/update"
	"telltale.dev/hal/clock"
	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

// Config of an Agent.
type Config struct {
	// Data is the folder of everything that survives a restart.
	Data    string
	Vehicle protocol.VehicleID
	Device  protocol.DeviceID
	Version string
	// Inputs are the buses, in the order of the plan's.
	Inputs []frames.Input
	Plan   *dbc.Plan
	// Default is collected while the cloud has not said otherwise; empty means nothing.
	Default []campaigns.Campaign
	// Endpoints are the brokers, tried in turn.
	Endpoints []string
	TLS       *tls.Config
	Timing    Timing
	// MaxBuffer bounds the buffer on disk, in bytes; zero means the buffer's default.
	MaxBuffer int64
	// Drain is how long a graceful stop may go on sending what waits, and before that how long it may wait for
	// room on a full disk.
	Drain time.Duration
	// Power and Network say how the supply and the link are watched, and what follows;
	// New fills what concerns other stages. The zero values watch nothing.
	Power   power.Config
	Network network.Config
	// StorageNote is the file in which the machine's start says that Data was lost; empty: it never says.
	StorageNote string
	// Update says which firmware runs and how another one gets here; New fills what concerns other stages.
	Update update.Config
	// Clock says how far the system's clock can be trusted; nil asks the kernel.
	Clock clock.Clock
	Log   *slog.Logger
}

// Timing are the settings of the connection and of commits; zero means the defaults.
type Timing struct {
	KeepAlive, SessionExpiry, WillDelay time.Duration
	BackoffMin, BackoffMax              time.Duration
	CommitUrgent, CommitBulk            time.Duration
	Window                              int
}

// Agent is one running agent.
type Agent struct {
	cfg    Config
	boot   protocol.BootID
	buffer *buffer.Buffer

	frames     *frames.Reader
	signals    *signals.Decoder
	collect    *collect.Collector
	batch      *batch.Sealer
	config     *config.Keeper
	collecting *collecting
	outbox     *outbox.Outbox
	link       *link.Link
	power      *power.Keeper
	network    *network.Watch
	update     *update.Updater
	storage    *storage.Reporter
}

// classBytes bounds what statuses and events may take of the buffer's bytes: half for each class from CS2 to CS5. So
// a flood of them, as of statuses of campaigns, does not evict all that was collected. Crash messages have no bound of their own.
func classBytes(all int64) (bounds [protocol.Priorities + 1]int64) {
	if all == 0 {
		all = buffer.DefaultMaxBytes
	}
	for class := protocol.CS2; class <= protocol.CS5; class++ {
		bounds[class] = all / 2
	}
	return bounds
}

// New opens the data folder and joins the stages. The boot id is drawn here.
func New(cfg Config) (*Agent, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Log = slog.New(calmly(cfg.Log.Handler()))
	a := &Agent{cfg: cfg}
	if _, err := rand.Read(a.boot[:]); err != nil {
		return nil, fmt.Errorf("boot id: %w", err)
	}
	schemas, err := config.OpenSchemas(filepath.Join(cfg.Data, "schemas"))
	if err != nil {
		return nil, err
	}
	a.buffer, err = buffer.Open(buffer.Config{
		Dir: filepath.Join(cfg.Data, "buffer"), MaxBytes: cfg.MaxBuffer, ClassBytes: classBytes(cfg.MaxBuffer), OnTrial: onTrial(cfg.Update.Slots), Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	if err := a.join(schemas); err != nil {
		return nil, errors.Join(err, a.buffer.Close())
	}
	return a, nil
}

// onTrial says that the firmware that runs may not have been confirmed: the one before may have to go on with the data.
func onTrial(s slots.Slots) bool {
	if s == nil {
		return false
	}
	st, err := s.Status()
	return err != nil || st.Trial
}

// join makes the stages, upstream first.
func (a *Agent) join(schemas *config.Schemas) (err error) {
	cfg := a.cfg
	catalogue := cfg.Plan.Catalogue()
	a.frames = frames.New(frames.Config{Inputs: cfg.Inputs, Log: cfg.Log})
	a.signals = signals.New(cfg.Plan, catalogue, a.inputs(), a.frames.Release)
	a.collect = collect.New(collect.Config{Save: a.saver(schemas), Release: a.signals.Release, Log: cfg.Log})
	a.collecting = &collecting{a: a, save: a.saver(schemas), plan: cfg.Plan, catalogue: catalogue}
	a.batch = batch.New(batch.Config{
		Vehicle: cfg.Vehicle, Device: cfg.Device, Boot: a.boot, Store: a.buffer,
		CommitUrgent: cfg.Timing.CommitUrgent, CommitBulk: cfg.Timing.CommitBulk, Grace: cfg.Drain,
		Release: a.collect.Release, TimeQuality: timeQuality(cfg.Clock), Log: cfg.Log,
	})
	a.outbox = outbox.New(outbox.Config{Vehicle: cfg.Vehicle, Device: cfg.Device, Buffer: a.buffer, Direct: stages{a}, TimeQuality: timeQuality(cfg.Clock)})
	a.config, err = config.Open(config.Config{
		Dir: cfg.Data, Device: cfg.Device, Default: cfg.Default,
		Campaigns: a.collecting, Outbox: a.outbox, UnknownSignal: campaign.ErrUnknownSignal, Replace: a.replace, Log: cfg.Log,
	})
	if err != nil {
		return err
	}
	a.collecting.pruneSchemas(schemas)
	a.link, err = link.New(link.Config{
		Endpoints: cfg.Endpoints, TLS: cfg.TLS, Vehicle: cfg.Vehicle, Device: cfg.Device, Boot: a.boot, Version: cfg.Version,
		KeepAlive: cfg.Timing.KeepAlive, SessionExpiry: cfg.Timing.SessionExpiry, WillDelay: cfg.Timing.WillDelay,
		Window: cfg.Timing.Window, BackoffMin: cfg.Timing.BackoffMin, BackoffMax: cfg.Timing.BackoffMax,
		Buffer: a.buffer, Schemas: schemas, Log: cfg.Log,
		Routes: a.routes(), Inbox: filepath.Join(cfg.Data, "inbox"), Write: a.replace,
	})
	if err != nil {
		return err
	}
	return a.makeWatchers()
}

// saver keeps schemas. On a full disk the buffer makes room for one, else collecting would wait for it.
func (a *Agent) saver(schemas *config.Schemas) func(protocol.SchemaHash, []byte) error {
	return func(hash protocol.SchemaHash, doc []byte) error {
		return a.squeeze(len(doc), func() error { return schemas.Save(hash, doc) })
	}
}

// replace puts a small file on disk.
func (a *Agent) replace(path string, data []byte) error {
	return a.squeeze(len(data), func() error { return durable.Replace(path, data) })
}

// squeeze does a small write, and once more when the buffer could make room for it.
func (a *Agent) squeeze(bytes int, write func() error) error {
	err := write()
	if durable.LacksRoom(err) && a.buffer.MakeRoom(protocol.CS2, bytes) {
		err = write()
	}
	return err
}

// routes say who takes what the cloud sends.
func (a *Agent) routes() []downlink.Route {
	return []downlink.Route{
		{
			Kind: topics.Config, Name: campaigns.Document, Revision: config.Revision,
			Take: func(ctx context.Context, m downlink.Message) { a.config.Take(ctx, m.Payload) },
		},
		{
			Kind: topics.Config, Name: updates.Document, Revision: update.Revision(a.cfg.Device),
			Take: func(ctx context.Context, m downlink.Message) { a.update.Take(ctx, m.Payload) },
		},
	}
}

// makeWatchers makes the stages beside the pipeline: those that watch supply, link and data partition, and the one that
// changes the firmware.
func (a *Agent) makeWatchers() (err error) {
	p, n := a.cfg.Power, a.cfg.Network
	p.Flusher, p.Line, p.Log = stages{a}, stages{a}, a.cfg.Log
	if a.power, err = power.New(p); err != nil {
		return err
	}
	n.Hold, n.Log = a.link.Hold, a.cfg.Log
	if a.network, err = network.New(n); err != nil {
		return err
	}
	a.storage = storage.New(storage.Config{
		Note: a.cfg.StorageNote, Dir: a.cfg.Data, Device: a.cfg.Device, Outbox: a.outbox, Log: a.cfg.Log,
	})
	a.update, err = update.Open(a.firmware())
	return err
}

// firmware completes the configuration of updates.
func (a *Agent) firmware() update.Config {
	c := a.cfg.Update
	c.Dir, c.Device = filepath.Join(a.cfg.Data, "update"), a.cfg.Device
	c.TLS, c.Outbox, c.Log = a.cfg.TLS, a.outbox, a.cfg.Log
	if c.Running.Version == "" {
		c.Running.Version = a.cfg.Version
	}
	if len(c.Endpoints) == 0 {
		for _, broker := range a.cfg.Endpoints {
			c.Endpoints = append(c.Endpoints, updates.DownloadEndpoint(broker))
		}
	}
	c.Healthy = func() error {
		if n := a.frames.Attached(); n < len(a.cfg.Inputs) {
			return fmt.Errorf("%d of %d buses are attached", n, len(a.cfg.Inputs))
		}
		return nil
	}
	c.Connected = func() bool { return a.link.Stats().Connected }
	return c
}

// Run works until ctx ends, or until the ignition is off and that is to end it: then it
// returns power.ErrStop; or until an update needs a restart of the machine: then
// update.ErrRestart. It seals what is open, gives the link Drain
// to send what waits, says goodbye and closes the buffer.
func (a *Agent) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fromBus := make(chan *frames.Block, framesQueue)
	decoded := make(chan *signals.Block, rowsQueue)
	wanted := make(chan *collect.Block, rowsQueue)

	// Each stage reads until the one before it has closed its channel, so that
	// nothing is lost on the way when ctx ends.
	var pipeline errgroup.Group
	pipeline.Go(func() error { return a.frames.Run(ctx, fromBus) })               // bus → frames
	pipeline.Go(func() error { a.signals.Run(fromBus, decoded); return nil })     // frames → rows
	pipeline.Go(func() error { a.collect.Run(ctx, decoded, wanted); return nil }) // rows → what campaigns want
	pipeline.Go(func() error { return a.batch.Run(ctx, wanted) })                 // → numbered batches on disk

	online, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	sent := make(chan error, 1)
	go func() { sent <- a.link.Run(online) }() // buffer → cloud

	var watchers errgroup.Group
	watchers.Go(func() error { defer stop(); return a.power.Run(ctx) })  // ignition → flush, upload, sleep
	watchers.Go(func() error { a.network.Run(ctx); return nil })         // link → what may be uploaded
	watchers.Go(func() error { a.storage.Run(ctx); return nil })         // note of the start → what became of the data
	watchers.Go(func() error { defer stop(); return a.update.Run(ctx) }) // document → download, slot, restart

	err := pipeline.Wait()
	stop()
	err = errors.Join(err, watchers.Wait())
	a.drain()
	hangUp()
	err = errors.Join(err, <-sent)
	a.config.Close()
	return errors.Join(err, a.buffer.Close())
}

// drainStep is how often drain looks whether everything is sent.
const drainStep = 20 * time.Millisecond

// drain waits until everything that may go is sent, the link is down or Drain has passed.
func (a *Agent) drain() {
	for end := time.Now().Add(a.cfg.Drain); time.Now().Before(end); time.Sleep(drainStep) {
		if a.sendable() == 0 || !a.link.Stats().Connected {
			return
		}
	}
}
