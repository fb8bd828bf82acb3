package cloud_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"telltale.dev/cloud"
	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
)

// TestOpenRefuses: what stands in the way is said in one line, without folders of
// this machine, and nothing is held afterwards.
func TestOpenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name   string
		change func(*cloud.Config)
		is     error
		says   string
	}{
		{"vehicles' port in use", func(c *cloud.Config) { c.MQTT = taken.Addr().String() }, nil, "address already in use"},
		{"API's port in use", func(c *cloud.Config) { c.HTTP = taken.Addr().String() }, nil, "address already in use"},
		{"API for everybody", func(c *cloud.Config) { c.HTTP = "0.0.0.0:0" }, nil, "expected a loopback address"},
		{"API without port", func(c *cloud.Config) { c.HTTP = "localhost" }, nil, "expected host:port"},
		{"other version", func(c *cloud.Config) { write(t, filepath.Join(c.Dir, "backbone", "VERSION"), "99\n") }, backbone.ErrVersion, "version 99"},
		{"directory below a file", func(c *cloud.Config) {
			write(t, filepath.Join(c.Dir, "file"), "")
			c.Dir = filepath.Join(c.Dir, "file", "data")
		}, cloud.ErrNotWritable, "not a directory"},
		{"somebody else's directory", func(c *cloud.Config) {
			c.Dir = filepath.Join(c.Dir, "mine")
			write(t, filepath.Join(c.Dir, "thesis.txt"), "")
		}, cloud.ErrForeign, "mine is not empty"},
		{"damaged authority", func(c *cloud.Config) { write(t, filepath.Join(c.Dir, "ca", "development-ca.pem"), "?") }, nil, "development-ca.pem"},
		{"no NATS server", func(c *cloud.Config) { c.NATS = "nats://127.0.0.1:1" }, backbone.ErrUnreachable, "127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t.TempDir())
			dir := cfg.Dir
			c.change(&cfg)
			_, err := cloud.New(t.Context(), cfg)
			switch {
			case err == nil:
				t.Fatal("got no error")
			case c.is != nil && !errors.Is(err, c.is):
				t.Errorf("got %v, want %v", err, c.is)
			case !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n"):
				t.Errorf("got %q, want one line with %q", err, c.says)
			case strings.Contains(err.Error(), filepath.Dir(dir)):
				t.Errorf("got %q, want no folder of this machine", err)
			}
			if c.name == "other version" || c.name == "damaged authority" || cfg.Dir != dir {
				return
			}
			again := config(dir)
			start(t, again).stop()
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTwoOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	s := start(t, config(dir))
	_, err := cloud.New(t.Context(), config(dir))
	if !errors.Is(err, cloud.ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("got %v, want %v and which process", err, cloud.ErrLocked)
	}
	s.stop()
	start(t, config(dir))
}

// TestHealth: a lake that cannot be written makes the cloud wait and say so, and nothing is lost.
func TestHealth(t *testing.T) {
	s := start(t, config(t.TempDir()))
	health := func(want int) {
		t.Helper()
		s.eventually(func() string {
			if got := s.get("/v1/health", nil); got != want {
				return "health is not as it should be"
			}
			return ""
		})
	}
	health(200)
	tmp := filepath.Join(s.dir, "lake", ".tmp")
	if err := os.RemoveAll(tmp); err != nil {
		t.Fatal(err)
	}
	write(t, tmp, "in the way")
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3), "pr", "CS4")
	health(503)
	if err := os.Remove(tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tmp, 0o750); err != nil {
		t.Fatal(err)
	}
	health(200)
	s.eventually(func() string {
		if len(s.lakeRows()) != 2 {
			return "the batch is not in the lake"
		}
		return ""
	})
}

// natsServer runs a server as a user would, on a port.
func natsServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("server does not start")
	}
	return s
}

// TestExternalServer: the same cloud on a NATS server of somebody else, which goes away for a while.
func TestExternalServer(t *testing.T) {
	store := t.TempDir()
	nats := natsServer(t, store, server.RANDOM_PORT)
	cfg := config(t.TempDir())
	cfg.NATS = nats.ClientURL()
	s := start(t, cfg)
	if _, err := cloud.New(t.Context(), cfg); !errors.Is(err, cloud.ErrLocked) {
		t.Errorf("a second cloud on the same directory: got %v, want %v", err, cloud.ErrLocked)
	}
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3), "pr", "CS4")
	s.eventually(func() string {
		if len(s.lakeRows()) != 2 {
			return "the batch is not in the lake"
		}
		return ""
	})

	port := nats.Addr().(*net.TCPAddr).Port
	nats.Shutdown()
	nats.WaitForShutdown()
	s.eventually(func() string {
		if s.get("/v1/health", nil) != 503 {
			return "health is good without a backbone"
		}
		return ""
	})
	if code := car.send("v1/car1/up/event/storage", []byte("x")); code < 0x80 {
		t.Errorf("got PUBACK 0x%02X without a backbone, want a refusal", code)
	}
	natsServer(t, store, port)
	s.eventually(func() string {
		if code := car.send("v1/car1/up/event/storage", []byte("x")); code != 0 {
			return "messages are still refused"
		}
		return ""
	})
	s.eventually(func() string {
		if s.get("/v1/health", nil) != 200 {
			return "health is still bad"
		}
		return ""
	})
	s.stop()

	s = start(t, cfg)
	var v vehicle
	if s.get("/v1/vehicles/car1", &v); v.Signals != 2 || v.Devices[0].Presence != string(protocol.PresenceUnknown) {
		t.Errorf("got %+v after a restart, want the vehicle with its state", v)
	}
}

// TestLostRegistry: vehicles that sent before and are registered no more are told of.
func TestLostRegistry(t *testing.T) {
	cfg := config(t.TempDir())
	s := start(t, cfg)
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3))
	s.stop()
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "backbone", "jetstream", "$G", "streams", "KV_vehicles")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	start(t, cfg).stop()
	if !strings.Contains(log.String(), "registry has lost vehicles") || !strings.Contains(log.String(), "vehicles=1") {
		t.Errorf("got %q, want it told", log.String())
	}
}
