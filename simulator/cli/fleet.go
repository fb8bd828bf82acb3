package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/simulator/client"
	"telltale.dev/simulator/fleet"
	"telltale.dev/simulator/world"
)

type Fleet struct {
	N      int           `short:"n" default:"100" help:"How many vehicles."`
	MQTT   string        `name:"mqtt" placeholder:"HOST:PORT" help:"The broker. Default: where telltale up has it, or 127.0.0.1:8883."`
	Cloud  string        `type:"path" placeholder:"DIR" help:"Data folder of the cloud, whose development authority makes the certificates. Default: .telltale/up/cloud."`
	CA     string        `name:"ca" type:"path" placeholder:"FILE" help:"Authority of another broker, instead of --cloud."`
	Cert   string        `type:"path" placeholder:"FILE" help:"With --ca: one certificate for all vehicles."`
	Key    string        `type:"path" placeholder:"FILE" help:"With --cert: its private key."`
	Prefix string        `default:"fleet" help:"Names are PREFIX-00001 and so on."`
	Rate   float64       `default:"1" help:"Messages a second of each vehicle; 0: as fast as they are acknowledged."`
	Window int           `default:"8" help:"Unacknowledged publishes of each vehicle; the broker may allow less."`
	Random bool          `help:"Publish random bytes in statuses of documents; else batches of a synthetic schema."`
	Size   string        `placeholder:"BYTES" help:"With --random: the payload. Default: 1KiB."`
	Time   time.Duration `default:"30s" help:"How long to publish, once all are connected; 0: until Ctrl-C."`
	Flood  int           `placeholder:"K" help:"So many of the vehicles ignore rate and window."`
	Pulse  time.Duration `placeholder:"TIME" help:"With --flood: they rest for so long, then flood for as long, and so on."`
	Ramp   float64       `default:"200" help:"Connects a second; 0: all at once."`
	JSON   bool          `name:"json" help:"Print the summary as one JSON object on the last line."`
}

// errUnhealthy is the exit code of a fleet that could not do what it was told.
var errUnhealthy = errors.New("there were failed connections, or publishes without an answer")

// Run drives the fleet and sums up.
func (c *Fleet) Run(ctx context.Context) error {
	var out io.Writer = os.Stdout
	if c.JSON {
		out = os.Stderr // the last line of standard output is for programs
	}
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	cfg.Failed = func(cause string) { fmt.Fprintf(out, "%s: %s\n", cfg.Address, cause) }
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

// check refuses flags that would have no effect.
func (c *Fleet) check() error {
	switch {
	case c.Size != "" && !c.Random:
		return errors.New("--size: expected --random beside it")
	case c.Pulse != 0 && c.Flood == 0:
		return errors.New("--pulse: expected --flood beside it")
	case c.CA != "" && c.Cloud != "":
		return errors.New("--ca: expected no --cloud beside it: it stands for another broker")
	case c.CA == "" && (c.Cert != "" || c.Key != ""):
		return errors.New("--cert: expected --ca beside it, the authority of the broker")
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("--cert: expected --key beside it")
	}
	return nil
}

// cloud is the data folder of the cloud.
func (c *Fleet) cloud() string { return cmp.Or(c.Cloud, filepath.Join(client.UpData, "cloud")) }

// broker is where the vehicles connect.
func (c *Fleet) broker() string {
	if c.MQTT == "" && c.CA == "" {
		if ports, ok := client.RunningUp(filepath.Dir(c.cloud())); ok && ports.MQTT != "" {
			return ports.MQTT
		}
	}
	return cmp.Or(c.MQTT, "127.0.0.1:8883")
}

// config reads the flags and gets the certificates.
func (c *Fleet) config(ctx context.Context) (fleet.Config, error) {
	if err := c.check(); err != nil {
		return fleet.Config{}, err
	}
	cfg := fleet.Config{Address: c.broker(), Flood: c.Flood, Pulse: c.Pulse, Rate: c.Rate, Window: c.Window, Duration: c.Time, Ramp: c.Ramp}
	if c.Random {
		size, err := protocol.ParseSize(cmp.Or(c.Size, "1KiB"))
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
	if _, err := os.Stat(c.cloud()); err != nil {
		return cfg, fmt.Errorf("--cloud: expected the data folder of a cloud, such as telltale up makes: %w", err)
	}
	program, err := world.FindProgram("telltale-cloud")
	if err != nil {
		return cfg, err
	}
	cfg.Roots, err = fleet.Issue(ctx, program, c.cloud(), cfg.Vehicles)
	return cfg, err
}

// shared gives all vehicles the certificate of the flags, if there is one.
func (c *Fleet) shared(cfg *fleet.Config) (err error) {
	if cfg.Roots, err = fleet.Authority(c.CA); err != nil {
		return fmt.Errorf("--ca: %w", err)
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
