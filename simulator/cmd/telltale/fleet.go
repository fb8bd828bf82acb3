package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/simulator/fleet"
	"telltale.dev/simulator/world"
)

type fleetCommand struct {
	N      int           `short:"n" default:"100" help:"How many vehicles."`
	MQTT   string        `name:"mqtt" default:"127.0.0.1:8883" placeholder:"HOST:PORT" help:"The broker."`
	Cloud  string        `type:"path" default:".telltale/up/cloud" placeholder:"DIR" help:"Data folder of the cloud, whose development authority makes the certificates."`
	CA     string        `name:"ca" type:"path" placeholder:"FILE" help:"Authority of another broker, instead of --cloud."`
	Cert   string        `type:"path" placeholder:"FILE" help:"With --ca: one certificate for all vehicles."`
	Key    string        `type:"path" placeholder:"FILE" help:"With --cert: its private key."`
	Prefix string        `default:"fleet" help:"Names are PREFIX-00001 and so on."`
	Rate   float64       `default:"1" help:"Messages a second of each vehicle; 0: as fast as they are acknowledged."`
	Window int           `default:"8" help:"Unacknowledged publishes of each vehicle; the broker may allow less."`
	Random bool          `help:"Publish random bytes as events; else batches of a synthetic schema."`
	Size   string        `default:"1KiB" help:"With --random: the payload."`
	Time   time.Duration `default:"30s" help:"How long to publish, once all are connected; 0: until Ctrl-C."`
	Flood  int           `placeholder:"K" help:"So many of the vehicles ignore rate and window."`
	Pulse  time.Duration `placeholder:"TIME" help:"With --flood: they rest for so long, then flood for as long, and so on."`
	Ramp   float64       `default:"200" help:"Connects a second; 0: all at once."`
	JSON   bool          `name:"json" help:"Print the summary as one JSON object on the last line."`
}

// errUnhealthy is the exit code of a fleet that could not do what it was told.
var errUnhealthy = errors.New("there were failed connections, or publishes without an answer")

// Run drives the fleet and sums up.
func (c *fleetCommand) Run(ctx context.Context) error {
	var out io.Writer = os.Stdout
	if c.JSON {
		out = os.Stderr // the last line of standard output is for programs
	}
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	cfg.Progress = func(p fleet.Progress) { fmt.Fprintln(out, p) }
	summary, err := fleet.Run(ctx, cfg)
	if err != nil {
		return err
	}
	summary.Text(out)
	if c.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
			return err
		}
	}
	if ctx.Err() == nil && (len(summary.Errors) > 0 || summary.Normal.Unanswered > 0) {
		return errUnhealthy
	}
	return nil
}

// config reads the flags and gets the certificates.
func (c *fleetCommand) config(ctx context.Context) (fleet.Config, error) {
	cfg := fleet.Config{Address: c.MQTT, Flood: c.Flood, Pulse: c.Pulse, Rate: c.Rate, Window: c.Window, Duration: c.Time, Ramp: c.Ramp}
	if c.Random {
		size, err := protocol.ParseSize(c.Size)
		if err != nil {
			return cfg, fmt.Errorf("--size: %w", err)
		}
		if size < 1 {
			return cfg, errors.New("--size: expected at least 1 byte")
		}
		cfg.Random = int(min(size, math.MaxInt32)) // the fleet knows the bound
	}
	var err error
	if cfg.Vehicles, err = fleet.Names(c.Prefix, c.N); err != nil {
		return cfg, fmt.Errorf("-n, --prefix: %w", err)
	}
	if c.CA != "" {
		return cfg, c.shared(&cfg)
	}
	if c.Cert != "" || c.Key != "" {
		return cfg, errors.New("--cert: expected --ca beside it, the authority of the broker")
	}
	if _, err := os.Stat(c.Cloud); err != nil {
		return cfg, fmt.Errorf("--cloud: expected the data folder of a cloud, such as telltale up makes: %w", err)
	}
	program, err := world.FindProgram("telltale-cloud")
	if err != nil {
		return cfg, err
	}
	cfg.Roots, err = fleet.Issue(ctx, program, c.Cloud, cfg.Vehicles)
	return cfg, err
}

// shared gives all vehicles the certificate of the flags, if there is one.
func (c *fleetCommand) shared(cfg *fleet.Config) (err error) {
	if cfg.Roots, err = fleet.Authority(c.CA); err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("--cert: expected --key beside it")
	}
	if c.Cert == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	for i := range cfg.Vehicles {
		cfg.Vehicles[i].Certificate = cert
	}
	return nil
}
