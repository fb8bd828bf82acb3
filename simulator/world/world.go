// Package world runs what a scenario is about: the cloud and the vehicles'
// agents as real child processes, their buses and their links.
//
// It starts, kills and watches; when to do what is the business of package
// scenario. It never imports agent or cloud: it runs their programs.
package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Config of a World.
type Config struct {
	// Dir keeps everything; it is created when missing. Empty or of an earlier run: else ErrForeign.
	Dir string
	// MQTT and HTTP are the cloud's addresses; empty means a free loopback port.
	MQTT, HTTP string
	// Download is where devices fetch update files; empty: the port after the broker's.
	Download string
	NATS     NATS
	// Programs is the folder of telltale-agent and telltale-cloud; empty: beside our own program, or on PATH.
	Programs string
	// Flush bounds how long a sample may wait for its Parquet file.
	Flush time.Duration
	Log   *slog.Logger
}

// NATS is an external NATS server for the cloud's streams, with the files for it; without a URL they are within the cloud.
type NATS struct {
	URL         string `name:"nats" placeholder:"URL" help:"An external NATS server with JetStream for the cloud's streams instead of the embedded one."`
	User        string `name:"nats-creds" type:"existingfile" placeholder:"FILE" help:"Credentials of the user at that server (.creds)."`
	NKey        string `name:"nats-nkey" type:"existingfile" placeholder:"FILE" help:"The seed of an nkey instead of credentials."`
	CA          string `name:"nats-ca" type:"existingfile" placeholder:"FILE" help:"Certificate authority (PEM) of that server. Default: those of this machine."`
	Certificate string `name:"nats-cert" type:"existingfile" placeholder:"FILE" help:"The cloud's certificate (PEM), for a server that wants one."`
	Key         string `name:"nats-key" type:"existingfile" placeholder:"FILE" help:"Its key (PEM)."`
	System      string `name:"nats-system-creds" type:"existingfile" placeholder:"FILE" help:"Credentials of a user in the system account, to ask at the start whether the servers write through to disk."`
}

// args are the cloud's flags for it.
func (n *NATS) args() (args []string) {
	for _, f := range []struct{ flag, value string }{
		{"--nats", n.URL}, {"--nats-creds", n.User}, {"--nats-nkey", n.NKey}, {"--nats-ca", n.CA},
		{"--nats-cert", n.Certificate}, {"--nats-key", n.Key}, {"--nats-system-creds", n.System},
	} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	return args
}

// ErrForeign is wrapped when the data folder holds something else.
var ErrForeign = errors.New("folder is not empty and not Telltale's")

// portsFile marks a folder as ours and tells the ports to whoever looks.
const (
	portsFile    = "ports.json"
	portsVersion = 1
)

// Ports are the addresses of a running world.
type Ports struct {
	Version int    `json:"version"`
	MQTT    string `json:"mqtt"`
	HTTP    string `json:"http"`
	// Download is where devices fetch update files.
	Download string `json:"download,omitempty"`
	Link     string `json:"link,omitempty"` // where the device that was made last connects: the faulty way to MQTT
	Bus      string `json:"bus,omitempty"`  // hub of the virtual CAN buses
}

// World is the running system. Methods are called by one goroutine at a time, except where said.
type World struct {
	cfg      Config
	agent    string            // program
	cloudBin string            // program
	ready    <-chan cloudReady // of the cloud that was launched last
	vehicles []*Vehicle

	mu    sync.Mutex // guards all below
	cloud *process
	ports Ports
}

// New prepares the folder and finds the programs.
func New(cfg Config) (*World, error) {
	w := &World{cfg: cfg}
	var err error
	if w.agent, err = cfg.program("telltale-agent"); err != nil {
		return nil, err
	}
	if w.cloudBin, err = cfg.program("telltale-cloud"); err != nil {
		return nil, err
	}
	if err := claim(cfg.Dir); err != nil {
		return nil, err
	}
	if w.cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	w.ports = Ports{Version: portsVersion}
	if _, err := ReadPorts(cfg.Dir); err == nil {
		return w, nil // those of an earlier run, or of one that goes on: its cloud will say so
	}
	return w, w.setPorts(func(*Ports) {})
}

func (c *Config) program(name string) (string, error) {
	if c.Programs == "" {
		return FindProgram(name)
	}
	return exec.LookPath(filepath.Join(c.Programs, name))
}

// FindProgram looks beside our own program, then on PATH.
func FindProgram(name string) (string, error) {
	if own, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(own), name)
		if info, err := os.Stat(beside); err == nil && !info.IsDir() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s: expected beside the telltale program or on PATH: make build makes it", name)
	}
	return path, nil
}

// claim makes sure that dir is ours to use.
func claim(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data folder: %w", err)
	}
	if len(entries) > 0 {
		ports, err := ReadPorts(dir)
		if err != nil {
			return fmt.Errorf("%s: %w: choose an empty or new one", dir, ErrForeign)
		}
		if ports.Version != portsVersion {
			return fmt.Errorf("%s: made by another version of Telltale (%d, expected %d): choose an empty or new one", dir, ports.Version, portsVersion)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// ReadPorts reads the ports file of a data folder: where its world was reached last.
func ReadPorts(dir string) (Ports, error) {
	var p Ports
	data, err := os.ReadFile(filepath.Join(dir, portsFile))
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return p, fmt.Errorf("ports file: %w", err)
	}
	return p, nil
}

// setPorts changes the ports and writes the file.
func (w *World) setPorts(change func(*Ports)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.ports)
	data, err := json.MarshalIndent(w.ports, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(w.cfg.Dir, portsFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("ports file: %w", err)
	}
	return nil
}

// Dir is the data folder.
func (w *World) Dir() string { return w.cfg.Dir }

// AgentProgram is the path of telltale-agent.
func (w *World) AgentProgram() string { return w.agent }

// Lake is the folder of the Parquet files.
func (w *World) Lake() string { return filepath.Join(w.cfg.Dir, "cloud", "lake") }

// Ports are the addresses in use. It may be called from any goroutine.
func (w *World) Ports() Ports {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ports
}

// running gives the cloud's process, nil when it was never started or has been stopped.
func (w *World) running() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cloud
}

func (w *World) setCloud(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cloud = p
}

func (w *World) logFile(name string) string { return filepath.Join(w.cfg.Dir, "logs", name+".log") }

// Failure tells of a child that ended on its own; nil when all is well. It may be called from any goroutine.
func (w *World) Failure() error {
	if p := w.running(); p != nil {
		if err := p.failure(); err != nil {
			return err
		}
	}
	for _, v := range w.vehicles {
		if err := v.failure(); err != nil {
			return err
		}
	}
	return nil
}

// Supervise restarts the devices with a Board whose agents have ended on their own.
func (w *World) Supervise() error {
	var errs []error
	for _, v := range w.vehicles {
		for _, d := range v.Devices {
			errs = append(errs, d.supervise())
		}
	}
	return errors.Join(errs...)
}

// Close ends everything that runs: vehicles first, so that they can say goodbye.
func (w *World) Close(ctx context.Context) error {
	var errs []error
	for _, v := range w.vehicles {
		errs = append(errs, v.close(ctx))
	}
	errs = append(errs, w.StopCloud(ctx))
	return errors.Join(errs...)
}
