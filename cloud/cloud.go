// Package cloud is the counterpart of the vehicles: broker, registry, ingest,
// state, lake, campaigns and the HTTP API in one process on one data directory.
// New joins the rooms; each is a package of its own, and knows no other but the table
// of access, which says who may do what, and the backbone, the ground floor.
//
//	vehicles ── broker ── handler.go ─┬─ ingest front ── backbone ── ingest processors ── sinks.go ─┬─ lake
//	                                  ├─ registry                                                   ├─ state ── live events
//	                                  ├─ campaigns ◄────────────────────────────────────────────────┤
//	vehicles ── downloads ────────────└─ updates ◄──────────────────────────────────────────────────┘
//	people ──── api ───── the routes of all of them
//
// A gate stands before each listener; places.go says how many connections they take together.
//
// # Adding a room
//
// Rooms stand on the backbone and know no other. A room of your own, such as cloud/geofence, takes these steps:
//
//  1. Write what the vehicle says as a struct in protocol/events, with Validate and Sender; fields that must be there are `cbor:"inside,required"`.
//  2. Write the room in a folder of its own: Open(ctx, backbone.Ground) (*Fences, error) loads what Ground.Store kept.
//  3. Give it the abilities that it needs, each a method (rooms.go lists them): Takes says which messages it gets, read and
//     checked; an error means "offer it again". Orders are what operators publish. Save, Forget, Run; Figures for /metrics, Routes of the API,
//     which share the forms in backbone/routes.go, Events for who watches.
//  4. Add one line to the table in rooms.go: room("geofence", geofence.Open). With it the broker acknowledges what the room takes.
//  5. Run make generate, which adds its routes to cloud/api/openapi.yaml, and add its reader to kinds_test.go.
//  6. For people, add a command to simulator/cli and its line to the table in commands.go there; watch shows the room's live events as they are.
//
// rooms_test.go adds such a room.
//
// It is not the place for what a room does: only for how they meet.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/broker"
	"telltale.dev/cloud/gate"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/lake"
	"telltale.dev/cloud/provisioning"
	"telltale.dev/cloud/registry"
	"telltale.dev/cloud/state"
	"telltale.dev/cloud/update"
	"telltale.dev/protocol/signed"
)

// Config of a Cloud.
type Config struct {
	Dir  string // everything that survives a restart
	NATS string // URL of an external NATS server; empty: embedded
	// Credentials are the files for that server.
	Credentials backbone.Credentials
	MQTT        string // where vehicles connect, host:port
	HTTP        string // where the API listens, loopback host:port
	// Download is where devices fetch update files, host:port; empty: nowhere.
	Download string
	Names    []string // further names of the server for its certificate
	Origins  []string // whose web pages may use the API (CORS); none by default
	Version  string
	// Dev lets devices with a certificate of the development authority register themselves.
	Dev bool
	// Flush bounds how long a sample may wait for its Parquet file; zero means the processor's default.
	Flush time.Duration
	// UpdateKeys are whose update files are taken; none: anybody's, since devices check for themselves.
	UpdateKeys signed.Keys
	// MaxUpdate bounds an update file, in bytes; zero means what a document may speak of.
	MaxUpdate int64
	Quota     ingest.Quota // of each vehicle; zero fields mean the defaults
	Times     ingest.Times // bounds of source times; zero fields mean none
	// Limits of the streams by name; zero fields mean no limit but the disk's.
	Limits map[string]backbone.Limits
	Log    *slog.Logger // discarded when nil

	rooms     []row             // further ones, of tests
	consumers []ingest.Consumer // the same
	patience  time.Duration     // with a consumer that refuses; zero means the processor's default
}

// Cloud is one running cloud.
type Cloud struct {
	cfg     Config
	started time.Time
	places  places
	gates   gate.Gates
	figures *prometheus.Registry // of all rooms, for /metrics

	lock       *lock
	backbone   *backbone.Backbone
	registry   *registry.Registry
	states     *state.Room
	vehicles   *registry.Desk
	rooms      []*opened
	processors []*ingest.Processor
	lakes      []*lake.Lake
	front      *ingest.Front
	arrivals   *ingest.Desk
	live       *api.Live
	api        *api.Server
	broker     *broker.Broker
	updates    *update.Updates
	downloads  *update.Server // nil without Config.Download
}

// New opens the data directory and joins the rooms. When it returns the ports are
// taken and Run must be called, also to give everything back; after an error nothing is held.
func New(ctx context.Context, cfg Config) (*Cloud, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cloud{cfg: cfg, started: time.Now(), figures: prometheus.NewRegistry(), live: api.NewLive()}
	if cfg.Flush < 0 {
		return nil, fmt.Errorf("flush: %v: expected a time above zero", cfg.Flush)
	}
	if err := c.allotPlaces(); err != nil {
		return nil, err
	}
	// Ports last: what went before needs no more than closing the backbone.
	for _, open := range []func(context.Context) error{
		c.openDirectory, c.openBackbone, c.openRegistry, c.openRooms, c.openIngest, c.openAPI, c.openBroker, c.finishDeletions, c.registerFigures,
	} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	c.sayPlaces()
	return c, nil
}

// close gives back what is held, as far as opening got.
func (c *Cloud) close() (err error) {
	if c.api != nil {
		_ = c.api.Close() // harmless after Run
	}
	if c.downloads != nil {
		_ = c.downloads.Close() // harmless after Run
	}
	if c.backbone != nil {
		err = c.backbone.Close()
	}
	for _, l := range c.lakes {
		err = errors.Join(err, l.Close())
	}
	if c.lock != nil {
		err = errors.Join(err, c.lock.release())
	}
	return err
}

// MQTTAddr is where vehicles connect.
func (c *Cloud) MQTTAddr() net.Addr { return c.broker.Addr() }

// HTTPAddr is where the API listens.
func (c *Cloud) HTTPAddr() net.Addr { return c.api.Addr() }

// Run works until ctx ends, or until the disk of the backbone failed: then a
// restart is needed, and the error says so. It returns when everything has stopped.
func (c *Cloud) Run(ctx context.Context) error {
	// The broker stops first, so that what it acknowledged is still processed.
	intake, stopIntake := context.WithCancel(ctx)
	defer stopIntake()
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBehind()
	processed, stopWaiting := context.WithCancel(behind)
	defer stopWaiting()

	var intakes, processors errgroup.Group
	rooms := []func(context.Context) error{c.broker.Run, c.api.Run, c.watchDisk, c.trim}
	for _, r := range able[runner](c.rooms) {
		rooms = append(rooms, r.Run)
	}
	if c.downloads != nil {
		rooms = append(rooms, c.downloads.Run)
	}
	for _, run := range rooms {
		intakes.Go(func() error { defer stopIntake(); return run(intake) })
	}
	for _, processor := range c.processors {
		processors.Go(func() error { defer stopIntake(); defer stopWaiting(); return processor.Run(behind) })
	}
	err := intakes.Wait()
	if err == nil {
		c.flush(processed)
	}
	stopBehind()
	return errors.Join(err, processors.Wait(), c.close())
}

// lastFlush bounds how long a stop waits until the lake has what was acknowledged;
// what it has not then, it gets at the next start.
const lastFlush = 10 * time.Second

// flush brings what the broker acknowledged into the lake.
func (c *Cloud) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastFlush)
	defer cancel()
	for _, processor := range c.processors {
		if err := processor.Flush(ctx); err != nil {
			c.cfg.Log.Warn("stopped before everything was in the lake; the next start goes on", "err", err)
			return
		}
	}
}

// watchDisk ends with an error when the backbone can store nothing more.
func (c *Cloud) watchDisk(ctx context.Context) error {
	select {
	case <-c.backbone.Failed():
		return c.backbone.Err()
	case <-ctx.Done():
		return nil
	}
}

func (c *Cloud) openDirectory(context.Context) (err error) {
	c.lock, err = lockDirectory(c.cfg.Dir)
	return err
}

func (c *Cloud) openBackbone(context.Context) (err error) {
	cfg := backbone.Config{URL: c.cfg.NATS, Credentials: c.cfg.Credentials, Limits: c.cfg.Limits, Log: c.cfg.Log}
	if cfg.URL == "" {
		cfg.Dir = filepath.Join(c.cfg.Dir, "backbone")
	}
	c.backbone, err = backbone.Open(cfg)
	return err
}

func (c *Cloud) openRegistry(ctx context.Context) error {
	bucket, err := c.backbone.Store("vehicles")
	if err != nil {
		return err
	}
	c.registry, err = registry.Open(ctx, bucket)
	return err
}

func (c *Cloud) openBroker(context.Context) error {
	ca, err := provisioning.OpenCA(filepath.Join(c.cfg.Dir, "ca"))
	if err != nil {
		return err
	}
	tls, err := ca.ServerTLS(c.cfg.Names)
	if err != nil {
		return err
	}
	// First the port that was asked for, then that of the downloads, which follows from it.
	listener, err := net.Listen("tcp", c.cfg.MQTT)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	tls = gate.TLS(tls)
	if err := c.openDownloads(tls); err != nil {
		return errors.Join(err, listener.Close())
	}
	h := &handler{dev: c.cfg.Dev, registry: c.registry, states: c.states, front: c.front, live: c.live, rooms: c.rooms, log: c.cfg.Log}
	c.broker, err = broker.New(broker.Config{
		Listener: c.gateBroker(listener), TLS: tls, Identify: provisioning.CertificateHolder, Handler: h, Taken: c.taken, Explain: c.explain,
		ReceiveMaximum: receiveMaximum, MaxConnections: c.places.clients,
		MaxOperatorSessions: min(maxOperatorSessions, c.places.clients/operatorShare), Log: c.cfg.Log,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	h.broker = c.broker
	return nil
}

// Operators share the connections with the vehicles: no more than this, and no more than a part of them.
const (
	maxOperatorSessions = 2048
	operatorShare       = 8
)

// receiveMaximum bounds what one client may have on its way to the disk: all
// clients share one queue there, so a flood must not put much before the others.
const receiveMaximum = 8
