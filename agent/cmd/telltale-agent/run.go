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
	"sync"
	"time"

	"telltale.dev/agent"
	"telltale.dev/agent/campaign"
	"telltale.dev/agent/frames"
	"telltale.dev/agent/local"
	"telltale.dev/agent/settings"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/durable"
	"telltale.dev/hal/keystore"
	"telltale.dev/hal/keystore/file"
	"telltale.dev/hal/supervisor"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"

	"telltale.dev/protocol/dbc"
)

// configured are the settings, and what they make of an agent.
type configured struct {
	settings.Settings `embed:""`
}

type runCommand struct {
	configured `embed:""`
	Report     time.Duration `help:"Print the agent's account as a JSON line at this interval."`
}

// Run is the agent until ctx ends.
func (c *runCommand) Run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	ctx, end := supervisor.Reloadable(ctx, reread, log)
	defer end()
	inputs, err := c.busInputs(socketcan.FindInherited(log).Open)
	if err != nil {
		return err
	}
	inputs, release := frames.OpenEarly(ctx, inputs) // what follows may take a while
	defer release()
	cfg, err := c.config(log)
	if err != nil {
		return err
	}
	if cfg.Power.Supply, err = c.openSupply(); err != nil {
		return err
	}
	cfg.Inputs = inputs
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	with, leave := context.WithCancel(ctx)
	var accompanied sync.WaitGroup
	accompanied.Go(func() { supervisor.Find().Accompany(with, a, log) })
	accompanied.Go(func() { local.Serve(with, c.Data, func() any { return a.Status() }, log) })
	defer accompanied.Wait()
	defer leave()
	if c.Report > 0 {
		reporting, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); reportEvery(reporting, a, c.Report) }()
		defer func() { stop(); <-ended; _ = json.NewEncoder(os.Stdout).Encode(a.Status()) }()
	}
	if err := a.Run(ctx); err != nil || !errors.Is(context.Cause(ctx), supervisor.ErrReload) {
		return err
	}
	return supervisor.ErrReload
}

// reread looks whether what the command line and the configuration say now can be used. It opens no device.
func reread() error {
	var c commands
	if _, err := c.parse(); err != nil {
		return err
	}
	if _, err := c.Run.config(slog.New(slog.DiscardHandler)); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// readable reads what the settings name, DBC files, campaigns and keys of updates, and says what cannot be used.
func (c *configured) readable(cfg *agent.Config, log *slog.Logger) error {
	if err := errors.Join(c.Bounds(), c.vehicle(cfg, log), c.watches(cfg), c.updates(cfg), c.campaigns(cfg)); err != nil {
		return err
	}
	_, err := campaign.Compile(cfg.Plan.Catalogue(), cfg.Default)
	return err
}

// reportEvery prints the status until ctx ends.
func reportEvery(ctx context.Context, a *agent.Agent, every time.Duration) {
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

// config turns the flags into the agent's configuration. It opens no device.
func (c *runCommand) config(log *slog.Logger) (agent.Config, error) {
	cfg := agent.Config{
		Data: c.Data, Version: protocol.BuildVersion(), Endpoints: c.Endpoint, Drain: c.Drain, Log: log,
		Timing: agent.Timing{
			KeepAlive: c.KeepAlive, SessionExpiry: c.SessionExpiry, WillDelay: c.WillDelay,
			BackoffMin: c.BackoffMin, BackoffMax: c.BackoffMax, Window: c.Window,
			CommitUrgent: c.CommitUrgent, CommitBulk: c.Commit,
		},
	}
	if c.StorageNote != "none" {
		cfg.StorageNote = c.StorageNote
	}
	if c.Report < 0 {
		return cfg, fmt.Errorf("%s: expected at least 0s, found %v", c.At("report", ""), c.Report)
	}
	if err := c.readable(&cfg, log); err != nil {
		return cfg, err
	}
	var err error
	if cfg.MaxBuffer, err = protocol.ParseSize(c.Buffer); err != nil {
		return cfg, fmt.Errorf("%s: %w", c.At("buffer", ""), err)
	}
	return cfg, c.identity(&cfg, log)
}

// campaigns reads those in force until the cloud says otherwise.
func (c *configured) campaigns(cfg *agent.Config) error {
	for _, name := range c.Campaign {
		doc, _, err := durable.ReadRegular(name, document.MaxInline)
		if err != nil {
			return fmt.Errorf("%s: %w", c.At("campaign", name), err)
		}
		parsed, err := campaigns.Parse(doc)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		cfg.Default = append(cfg.Default, *parsed)
	}
	return nil
}

// vehicle reads the DBC files and names the buses.
func (c *configured) vehicle(cfg *agent.Config, log *slog.Logger) error {
	var sources []dbc.Source
	var err error
	if cfg.Inputs, err = c.busInputs(socketcan.Open); err != nil {
		return err
	}
	for _, in := range cfg.Inputs {
		sources = append(sources, dbc.Source{Bus: in.Name, J1939: slices.Contains(c.J1939, in.Name)})
	}
	for _, arg := range c.DBC {
		name, path, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(sources, func(s dbc.Source) bool { return s.Bus == name })
		if i < 0 || path == "" {
			return fmt.Errorf("%s: expected NAME=FILE with a NAME that --can has", c.At("dbc", arg))
		}
		text, _, err := durable.ReadRegular(path, dbc.MaxText)
		if err != nil {
			return fmt.Errorf("%s: %w", c.At("dbc", arg), err)
		}
		parsed, problems, err := dbc.Parse(path, text)
		if err != nil {
			return err
		}
		for _, p := range problems {
			log.Warn("dbc", "problem", p.String())
		}
		sources[i].Files = append(sources[i].Files, parsed)
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
func (c *configured) identity(cfg *agent.Config, log *slog.Logger) error {
	store, err := file.Open(file.Config{Cert: c.Cert, Key: c.Key, CA: c.CA, Exposed: c.KeyUsers == "all", Log: log})
	if err != nil {
		return err
	}
	log.Info("key store", "protection", store.Protection())
	uris := store.Chain()[0].URIs
	if len(uris) != 1 {
		return fmt.Errorf("%s: expected one URI of the form urn:dev:vehicle:device, found %d", c.At("cert", ""), len(uris))
	}
	if cfg.Vehicle, cfg.Device, err = protocol.ParseDeviceURN(uris[0].String()); err != nil {
		return fmt.Errorf("%s: %w", c.At("cert", ""), err)
	}
	cfg.TLS, err = keystore.TLSConfig(store, store.Roots(), "")
	return err
}
