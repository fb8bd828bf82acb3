package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"telltale.dev/agent"
	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/hal/keystore"
	"telltale.dev/hal/keystore/file"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/dbc"
)

type runCommand struct {
	Data     string   `required:"" type:"path" placeholder:"DIR" help:"Folder for buffer, documents and schemas."`
	Can      []string `required:"" sep:"none" placeholder:"NAME=URL" help:"A bus, such as can0=virtual://127.0.0.1:4000/can0. May be repeated."`
	DBC      []string `name:"dbc" sep:"none" placeholder:"NAME=FILE" help:"A DBC file for a bus. May be repeated."`
	J1939    []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
	Endpoint []string `required:"" placeholder:"HOST:PORT" help:"A broker. Several are tried in turn."`
	Cert     string   `required:"" type:"path" placeholder:"FILE" help:"Device certificate (PEM)."`
	Key      string   `required:"" type:"path" placeholder:"FILE" help:"Its private key (PEM)."`
	CA       string   `required:"" name:"ca" type:"path" placeholder:"FILE" help:"Certificate authority of the broker (PEM)."`
	Campaign []string `type:"path" placeholder:"FILE" help:"Campaign in force until the cloud says otherwise. Default: everything."`

	KeepAlive     time.Duration `default:"60s" help:"MQTT keep-alive."`
	WillDelay     time.Duration `default:"15s" help:"How long the broker waits before it reports the vehicle lost."`
	SessionExpiry time.Duration `default:"300s" help:"Must be longer than the will delay."`
	BackoffMin    time.Duration `default:"1s" help:"Shortest wait between connection attempts."`
	BackoffMax    time.Duration `default:"5m" help:"Longest wait between connection attempts."`
	Window        int           `default:"16" help:"Publishes under way at once."`
	CommitUrgent  time.Duration `default:"1s" help:"What a power cut may cost of CS4 and above, in source time."`
	Commit        time.Duration `default:"10s" help:"What a power cut may cost of the other classes, in source time."`
	Buffer        string        `default:"256MiB" placeholder:"SIZE" help:"Bound of the buffer on disk."`
	Drain         time.Duration `default:"5s" help:"How long a stop may go on sending."`
	Report        time.Duration `help:"Print the agent's account as a JSON line at this interval."`
	LogLevel      slog.Level    `default:"info" help:"debug, info, warn or error."`
}

// Run is the agent until ctx ends.
func (c *runCommand) Run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	cfg, err := c.config(log)
	if err != nil {
		return err
	}
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	if c.Report > 0 {
		reporting, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); report(reporting, a, c.Report) }()
		defer func() { stop(); <-ended; _ = json.NewEncoder(os.Stdout).Encode(a.Status()) }()
	}
	return a.Run(ctx)
}

// report prints the status until ctx ends.
func report(ctx context.Context, a *agent.Agent, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	out := json.NewEncoder(os.Stdout)
	for {
		_ = out.Encode(a.Status())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// config turns the flags into the agent's configuration.
func (c *runCommand) config(log *slog.Logger) (agent.Config, error) {
	cfg := agent.Config{
		Data: c.Data, Version: protocol.BuildVersion(), Endpoints: c.Endpoint, Drain: c.Drain, Log: log,
		Timing: agent.Timing{
			KeepAlive: c.KeepAlive, SessionExpiry: c.SessionExpiry, WillDelay: c.WillDelay,
			BackoffMin: c.BackoffMin, BackoffMax: c.BackoffMax, Window: c.Window,
			CommitUrgent: c.CommitUrgent, CommitBulk: c.Commit,
		},
	}
	if c.SessionExpiry <= c.WillDelay {
		return cfg, errors.New("--session-expiry: expected more than --will-delay, else the will fires at once")
	}
	size, err := protocol.ParseSize(c.Buffer)
	if err != nil {
		return cfg, fmt.Errorf("--buffer: %w", err)
	}
	cfg.MaxBuffer = int64(size)
	if err := c.identity(&cfg, log); err != nil {
		return cfg, err
	}
	if err := c.vehicle(&cfg, log); err != nil {
		return cfg, err
	}
	for _, name := range c.Campaign {
		doc, err := os.ReadFile(name)
		if err != nil {
			return cfg, fmt.Errorf("--campaign: %w", err)
		}
		parsed, err := codec.ParseCampaign(doc)
		if err != nil {
			return cfg, fmt.Errorf("%s: %w", name, err)
		}
		cfg.Default = append(cfg.Default, *parsed)
	}
	return cfg, nil
}

// vehicle reads the DBC files and names the buses.
func (c *runCommand) vehicle(cfg *agent.Config, log *slog.Logger) error {
	var sources []dbc.Source
	for _, arg := range c.Can {
		name, url, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return fmt.Errorf("--can %s: expected NAME=URL", arg)
		}
		cfg.Inputs = append(cfg.Inputs, frames.Input{Name: name, Open: func(ctx context.Context) (canbus.Bus, error) {
			return virtual.Dial(ctx, url)
		}})
		sources = append(sources, dbc.Source{Bus: name, J1939: slices.Contains(c.J1939, name)})
	}
	for _, arg := range c.DBC {
		name, path, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(sources, func(s dbc.Source) bool { return s.Bus == name })
		if i < 0 || path == "" {
			return fmt.Errorf("--dbc %s: expected NAME=FILE with a NAME that --can has", arg)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("--dbc: %w", err)
		}
		parsed, problems, err := dbc.Parse(path, text)
		if err != nil {
			return err
		}
		for _, p := range problems {
			log.Warn("dbc", "problem", p.String())
		}
		sources[i].Files = append(sources[i].Files, parsed)
		cfg.Hashes = append(cfg.Hashes, parsed.Hash)
	}
	plan, problems, err := dbc.Compile(sources)
	if err != nil {
		return err
	}
	for _, p := range problems {
		log.Warn("dbc", "problem", p.String())
	}
	cfg.Plan = plan
	return nil
}

// identity reads key and certificate; who we are is in the certificate.
func (c *runCommand) identity(cfg *agent.Config, log *slog.Logger) error {
	store, err := file.Open(file.Config{Cert: c.Cert, Key: c.Key, CA: c.CA, Log: log})
	if err != nil {
		return err
	}
	log.Info("key store", "protection", store.Protection())
	uris := store.Chain()[0].URIs
	if len(uris) != 1 {
		return fmt.Errorf("--cert: expected one URI of the form urn:dev:vehicle:device, found %d", len(uris))
	}
	if cfg.Vehicle, cfg.Device, err = protocol.ParseDeviceURN(uris[0].String()); err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	cfg.TLS, err = keystore.TLSConfig(store, store.Roots(), "")
	return err
}
