package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"telltale.dev/agent"
)

// supervisor is systemd, or whoever speaks its words. Source: sd_notify(3), sd_watchdog_enabled(3).
type supervisor struct {
	socket   string        // empty: nobody listens
	watchdog time.Duration // it wants a sign of life within this time; zero: it does not
}

// findSupervisor looks into the environment.
func findSupervisor() supervisor {
	s := supervisor{socket: os.Getenv("NOTIFY_SOCKET")}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s
	}
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// tell sends words. Nobody depends on them but the supervisor.
func (s supervisor) tell(words string) error {
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

// accompany tells the supervisor that the agent works, and goes on giving signs of life
// until ctx ends: only while the agent is healthy. The first sign is the word that it is ready.
func (s supervisor) accompany(ctx context.Context, a *agent.Agent, log *slog.Logger) {
	if err := s.tell("READY=1"); err != nil {
		log.Warn("supervisor not reached", "error", err)
	}
	defer func() { _ = s.tell("STOPPING=1") }()
	if s.watchdog == 0 {
		<-ctx.Done()
		return
	}
	every := time.NewTicker(s.watchdog / 3)
	defer every.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, s.watchdog/4)
		err := a.Healthy(check)
		cancel()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Error("not healthy; the supervisor gets no sign of life", "error", err)
		default:
			_ = s.tell(fmt.Sprintf("WATCHDOG=1\nSTATUS=%s", summary(a.Status())))
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// summary is the agent's status in one line.
func summary(s agent.Status) string {
	way := "not connected"
	switch {
	case s.Asleep:
		way = "asleep"
	case s.Connected:
		way = "connected"
	}
	return fmt.Sprintf("%s; buses attached: %d; records waiting: %d", way, s.Attached, s.Waiting)
}
