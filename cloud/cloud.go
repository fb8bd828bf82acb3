// Package cloud is the thin counterpart of the vehicles: broker, registry,
// ingest, state, lake, campaigns and the HTTP API in one process on one data
// directory. New joins the rooms; each is a package of its own.
package cloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/broker"
	"telltale.dev/cloud/campaign"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/provisioning"
	"telltale.dev/cloud/registry"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
)

// Config of a Cloud.
type Config struct {
	Dir     string   // everything that survives a restart
	NATS    string   // URL of an external NATS server; empty: embedded
	MQTT    string   // where vehicles connect, host:port
	HTTP    string   // where the API listens, loopback host:port
	Names   []string // further names of the server for its certificate
	Version string
	// Dev lets devices with a certificate of the development authority register themselves.
	Dev bool
	// Flush bounds how long a sample may wait for its Parquet file; zero means the lake's default.
	Flush time.Duration
	Quota ingest.Quota
	// Limits of the streams by name; zero fields mean no limit but the disk's.
	Limits map[string]backbone.Limits
	Log    *slog.Logger
}

// Cloud is one running cloud.
type Cloud struct {
	cfg     Config
	started time.Time

	backbone  *backbone.Backbone
	registry  *registry.Registry
	states    *state.States
	snapshots store
	schemas   schemaStore
	campaigns *campaign.Campaigns
	lanes     []*lane
	front     *ingest.Front
	replayer  *ingest.Replayer
	broker    *broker.Broker
	live      *api.Live
	api       *api.Server
}

// New opens the data directory and joins the rooms; ports are taken when it returns.
func New(ctx context.Context, cfg Config) (*Cloud, error) {
	c := &Cloud{cfg: cfg, started: time.Now(), states: state.New(), live: api.NewLive()}
	var err error
	c.backbone, err = backbone.Open(backbone.Config{
		Dir: filepath.Join(cfg.Dir, "backbone"), URL: cfg.NATS, Limits: cfg.Limits, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	for _, open := range []func(context.Context) error{c.openRegistry, c.openState, c.openCampaigns, c.openIngest, c.openBroker, c.openAPI} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, c.backbone.Close())
		}
	}
	return c, nil
}

// MQTTAddr is where vehicles connect.
func (c *Cloud) MQTTAddr() net.Addr { return c.broker.Addr() }

// HTTPAddr is where the API listens.
func (c *Cloud) HTTPAddr() net.Addr { return c.api.Addr() }

// Run works until ctx ends, or until the disk of the backbone failed: then a
// restart is needed, and the error says so.
func (c *Cloud) Run(ctx context.Context) error {
	// The broker stops first, so that what it acknowledged is still processed.
	intake, stopIntake := context.WithCancel(ctx)
	defer stopIntake()
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBehind()
	processed, stopWaiting := context.WithCancel(behind)
	defer stopWaiting()

	var group errgroup.Group
	group.Go(func() error { defer stopIntake(); return c.broker.Run(intake) })
	group.Go(func() error { defer stopIntake(); return c.api.Run(intake) })
	group.Go(func() error { defer stopIntake(); return c.watchDisk(intake) })
	var processing errgroup.Group
	for _, l := range c.lanes {
		processing.Go(func() error { defer stopIntake(); defer stopWaiting(); return l.processor.Run(behind) })
	}

	err := group.Wait()
	if err == nil {
		c.flush(processed)
	}
	stopBehind()
	return errors.Join(err, processing.Wait(), c.backbone.Close())
}

// lastFlush bounds how long a stop waits until the lake has what was acknowledged;
// what it has not then, it gets at the next start.
const lastFlush = 10 * time.Second

// flush brings what the broker acknowledged into the lake.
func (c *Cloud) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastFlush)
	defer cancel()
	for _, l := range c.lanes {
		if err := l.processor.Flush(ctx); err != nil {
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

func (c *Cloud) openRegistry(ctx context.Context) (err error) {
	bucket, err := c.bucket("vehicles")
	if err != nil {
		return err
	}
	c.registry, err = registry.Open(ctx, bucket)
	return err
}

func (c *Cloud) openState(ctx context.Context) (err error) {
	if c.snapshots, err = c.bucket("state"); err != nil {
		return err
	}
	return c.states.Load(ctx, c.snapshots)
}

func (c *Cloud) openCampaigns(ctx context.Context) error {
	bucket, err := c.bucket("campaigns")
	if err != nil {
		return err
	}
	c.campaigns, err = campaign.Open(ctx, campaign.Config{
		Store: bucket,
		Vehicles: func() (list []protocol.VehicleID) {
			for _, v := range c.registry.Vehicles() {
				list = append(list, v.ID)
			}
			return list
		},
		Deliver: func(m campaign.Message) { c.broker.Deliver(brokerMessage(m)) },
	})
	return err
}

func (c *Cloud) openBroker(context.Context) error {
	ca, err := provisioning.OpenCA(filepath.Join(c.cfg.Dir, "ca"))
	if err != nil {
		return err
	}
	var tlsConfig *tls.Config
	if tlsConfig, err = ca.ServerTLS(c.cfg.Names); err != nil {
		return err
	}
	c.broker, err = broker.New(broker.Config{
		Listen: c.cfg.MQTT, TLS: tlsConfig, Identify: identify, Handler: handler{c}, Log: c.cfg.Log,
	})
	return err
}

// identify reads from a certificate who its holder is.
func identify(cert *x509.Certificate) (broker.Client, error) {
	id, err := provisioning.CertificateIdentity(cert)
	return broker.Client{Vehicle: id.Vehicle, Device: id.Device, Operator: id.Operator}, err
}

// bucket opens a key-value bucket.
func (c *Cloud) bucket(name string) (store, error) {
	b, err := c.backbone.Bucket(name)
	if err != nil {
		return store{}, fmt.Errorf("bucket %s: %w", name, err)
	}
	return store{b}, nil
}

// lane is one stream with what stands behind it.
type lane struct {
	processor *ingest.Processor
}

// openIngest joins the lanes: stream → processor → lake and sinks.
func (c *Cloud) openIngest(context.Context) error {
	bucket, err := c.bucket("schemas")
	if err != nil {
		return err
	}
	c.schemas = schemaStore{bucket}
	publisher := publisher{c.backbone}
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, "lake"), 0o700); err != nil {
		return fmt.Errorf("lake: %w", err)
	}
	for _, name := range []string{backbone.Up, backbone.Low} {
		l, err := c.openLane(name, publisher)
		if err != nil {
			return err
		}
		c.lanes = append(c.lanes, l)
	}
	c.replayer = &ingest.Replayer{Dead: stream{c.backbone, backbone.Dead}, Publisher: publisher}
	c.front, err = ingest.NewFront(ingest.FrontConfig{
		Publisher: publisher, Registry: c.registry, Schemas: c.schemas, Quota: c.cfg.Quota, Log: c.cfg.Log,
	})
	return err
}
