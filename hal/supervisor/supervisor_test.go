package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/supervisor/supervisortest"
)

func TestFind(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "@abstract")
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "1") // another's
	if s := Find(); s.socket != "@abstract" || s.watchdog != 0 {
		t.Errorf("got %+v", s)
	}
	t.Setenv("WATCHDOG_PID", "")
	if s := Find(); s.watchdog != 30*time.Second {
		t.Errorf("got %+v", s)
	}
	if err := (Supervisor{socket: filepath.Join(t.TempDir(), "none")}).tell("READY=1"); err == nil {
		t.Error("a supervisor that is not there: no error")
	}
	if err := (Supervisor{}).tell("READY=1"); err != nil {
		t.Errorf("without a supervisor: %v", err)
	}
}

// process is one whose health the test sets.
type process struct{ err error }

func (p process) Healthy(context.Context) error { return p.err }

func (p process) Summary() string { return "all is well" }

// TestAccompany: signs of life come while the process is healthy, and only then.
func TestAccompany(t *testing.T) {
	for _, p := range []process{{}, {errors.New("stuck")}} {
		conn, socket := supervisortest.Listen(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Supervisor{socket: socket, watchdog: 100 * time.Millisecond}.Accompany(ctx, p, slog.New(slog.DiscardHandler))
		}()
		if got := supervisortest.Heard(t, conn, 2*time.Second); got != "READY=1" {
			t.Errorf("got %q, want READY=1", got)
		}
		if got := supervisortest.Heard(t, conn, time.Second); (got == "WATCHDOG=1\nSTATUS=all is well") != (p.err == nil) {
			t.Errorf("health %v: got %q", p.err, got)
		}
		cancel()
		<-ended
		last := ""
		for word := supervisortest.Heard(t, conn, 100*time.Millisecond); word != ""; word = supervisortest.Heard(t, conn, 100*time.Millisecond) {
			last = word
		}
		if !strings.HasPrefix(last, "STOPPING=1") {
			t.Errorf("last word: got %q, want STOPPING=1", last)
		}
	}
}
