package world_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/simulator/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// programs gives a folder with a cloud that is a shell script, so that it can
// fail in every way; the real one is tested by the command's scripts.
func programs(t *testing.T, cloud string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{"telltale-agent": "exit 1\n", "telltale-cloud": cloud} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serving says that the cloud serves; a script sets its traps before it.
const serving = `echo '{"mqtt":"127.0.0.1:1","http":"127.0.0.1:2"}'
`

// start makes a world and starts its cloud.
func start(t *testing.T, cloud string) (*world.World, error) {
	t.Helper()
	w, err := world.New(world.Config{Dir: t.TempDir(), Programs: programs(t, cloud), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return w, w.StartCloud(t.Context())
}

func TestFolder(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // in the error; empty: it is taken
	}{
		{"a new one", nil, ""},
		{"one of an earlier run", map[string]string{"ports.json": `{"version":1,"mqtt":"127.0.0.1:8883"}`, "cloud/x": ""}, ""},
		{"somebody's", map[string]string{"thesis.txt": "years of work"}, "not Telltale's: choose an empty or new one"},
		{"somebody's logs", map[string]string{"logs/x.log": ""}, "not Telltale's"},
		{"another's ports", map[string]string{"ports.json": "[1, 2]"}, "not Telltale's"},
		{"another version's", map[string]string{"ports.json": `{"version":2}`}, "another version of Telltale (2, expected 1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := world.New(world.Config{Dir: dir, Programs: programs(t, serving), Log: slog.New(slog.DiscardHandler)})
			if c.want == "" {
				ports, read := world.ReadPorts(dir)
				if err != nil || read != nil || ports.Version != 1 {
					t.Errorf("got %v, %v and %+v, want a folder with ports", err, read, ports)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != len(c.files) {
				t.Errorf("got %v, want the folder as it was", entries)
			}
		})
	}
}

func TestCloudServes(t *testing.T) {
	w, err := start(t, `trap 'exit 0' TERM; `+serving+`while :; do sleep 0.05; done`)
	if err != nil {
		t.Fatal(err)
	}
	if p := w.Ports(); p.MQTT != "127.0.0.1:1" || p.HTTP != "127.0.0.1:2" {
		t.Errorf("got %+v, want what the cloud said", p)
	}
	if !w.CloudRunning() || w.Failure() != nil {
		t.Errorf("got %v, want a running cloud", w.Failure())
	}
	if err := w.Close(t.Context()); err != nil || w.CloudRunning() {
		t.Errorf("got %v, want an end in order", err)
	}
}

func TestCloudFails(t *testing.T) {
	_, err := start(t, "echo port in use >&2; exit 3")
	if !errors.Is(err, world.ErrExited) || !strings.Contains(err.Error(), "(exit status 3): port in use") {
		t.Errorf("got %v, want the last line of its log", err)
	}

	w, err := start(t, serving+"sleep 0.1; echo disk full >&2; exit 1")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); w.CloudRunning() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := w.Failure(); !errors.Is(err, world.ErrExited) || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v, want the last line of its log", err)
	}
	if log, err := os.ReadFile(filepath.Join(w.Dir(), "logs", "cloud.log")); err != nil || string(log) != "disk full\n" {
		t.Errorf("got %q, %v, want its log in a file", log, err)
	}

	w, err = start(t, "trap 'echo cannot flush >&2; exit 1' TERM; "+serving+"while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot flush") {
		t.Errorf("got %v, want that it did not end in order", err)
	}
}

func TestCloudKilled(t *testing.T) {
	w, err := start(t, serving+"exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	w.KillCloud()
	if w.CloudRunning() || w.Failure() != nil {
		t.Errorf("got %v, want no failure: it was us", w.Failure())
	}
	if err := w.StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.KillCloud()
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProgramsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := world.New(world.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.HasPrefix(err.Error(), "telltale-agent: expected beside the telltale program or on PATH") {
		t.Errorf("got %v, want how to get it", err)
	}
}
