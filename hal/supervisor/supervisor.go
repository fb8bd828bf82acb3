// Package supervisor speaks with whoever watches over this process: systemd, or who speaks its
// words (sd_notify(3), sd_watchdog_enabled(3)).
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// Supervisor is who watches over this process. The zero Supervisor is nobody.
type Supervisor struct {
	socket   string        // empty: nobody listens
	watchdog time.Duration // it wants a sign of life within this time; zero: it does not
}

// Find looks into the environment.
func Find() Supervisor {
	s := Supervisor{socket: os.Getenv("NOTIFY_SOCKET")}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s
	}
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// tell sends words. Nobody depends on them but the supervisor.
func (s Supervisor) tell(words string) error {
	if s.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"}) // net knows the @ of abstract names
	if err != nil {
		return fmt.Errorf("supervisor: %w", err)
	}
	defer conn.Close()
	_, err = conn.Write([]byte(words))
	return err
}

// Process is what the supervisor is told of.
type Process interface {
	Healthy(context.Context) error // within the context's time
	Summary() string               // one line for people
}

// Accompany tells the supervisor that the process works, and goes on giving signs of life
// until ctx ends: only while the process is healthy. The first sign is the word that it is ready, the last one that it
// stops, or that it reads its configuration again; see Reloadable.
func (s Supervisor) Accompany(ctx context.Context, p Process, log *slog.Logger) {
	if err := s.tell("READY=1"); err != nil {
		log.Warn("supervisor not reached", "error", err)
	}
	defer func() {
		last := "STOPPING=1"
		if errors.Is(context.Cause(ctx), ErrReload) {
			last = "RELOADING=1" // READY=1 follows
		}
		_ = s.tell(last)
	}()
	if s.watchdog == 0 {
		<-ctx.Done()
		return
	}
	every := time.NewTicker(s.watchdog / 3)
	defer every.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, s.watchdog/4)
		err := p.Healthy(check)
		cancel()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Error("not healthy; the supervisor gets no sign of life", "error", err)
		default:
			_ = s.tell(fmt.Sprintf("WATCHDOG=1\nSTATUS=%s", p.Summary()))
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}
