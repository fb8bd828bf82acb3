package local_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"telltale.dev/agent/local"
)

type account struct{ Waiting int }

// served starts an agent's side and waits until it answers.
func served(t *testing.T, dir string, waiting int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		local.Serve(ctx, dir, func() any { return account{waiting} }, slog.Default())
	}()
	for {
		var got account
		if err := local.Status(t.Context(), dir, &got); err == nil && got.Waiting == waiting {
			break
		}
		select {
		case <-ended:
			t.Fatal("it does not serve")
		default:
		}
	}
	return func() {
		cancel()
		<-ended
	}
}

func TestStatus(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	dirs := []string{t.TempDir()}
	if runtime.GOOS == "linux" {
		dirs = append(dirs, long)
	}
	for _, dir := range dirs {
		var got account
		if err := local.Status(t.Context(), dir, &got); !errors.Is(err, local.ErrNotRunning) {
			t.Errorf("before: got %v, want %v", err, local.ErrNotRunning)
		}
		stop := served(t, dir, 1)
		if info, err := os.Stat(filepath.Join(dir, "agent.sock")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got %v, %v, want a socket for its owner alone", info, err)
		}
		stop()
		if err := local.Status(t.Context(), dir, &got); !errors.Is(err, local.ErrNotRunning) { // its socket is still there
			t.Errorf("after: got %v, want %v", err, local.ErrNotRunning)
		}
		served(t, dir, 2)()
	}
}

func TestNoPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	var said strings.Builder
	local.Serve(t.Context(), dir, nil, slog.New(slog.NewTextHandler(&said, nil)))
	if got := said.String(); !strings.Contains(got, "nobody can ask") || strings.Contains(got, dir) {
		t.Errorf("got %q, want an error without a path", got)
	}
}
