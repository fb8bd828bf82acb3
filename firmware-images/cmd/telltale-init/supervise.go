//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/settings"
	"telltale.dev/hal/power"
	"telltale.dev/hal/slots"
)

const (
	backoffMin = time.Second
	backoffMax = 30 * time.Second
	// steady is how long the agent must have run so that its earlier failures are forgotten.
	steady = 5 * time.Minute
	// stopTime is what the agent gets to store and end.
	stopTime = 5 * time.Second
)

// supervisor keeps the agent running. Owned by run.
type supervisor struct {
	cfg      settings.Agent
	children *reaper
	dog      *watchdog
	signs    <-chan sign
	sockets  []handedSocket // of the buses; the first agent gets them
}

// handedSocket is a CAN socket that is opened before the agent runs.
type handedSocket struct {
	bus  string // interface
	file *os.File
}

// hand gives the sockets away, once, with the words that tell of them: those of
// sd_listen_fds(3), but for the process's number, which is not known yet.
func (s *supervisor) hand() (env []string, files []*os.File) {
	if len(s.sockets) == 0 {
		return nil, nil
	}
	var names []string
	for _, h := range s.sockets {
		names, files = append(names, h.bus), append(files, h.file)
	}
	s.sockets = nil
	return []string{"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}, files
}

// Why a run of the agent is the last one.
var (
	errAsked  = errors.New("the agent asks for it")
	errSignal = errors.New("told by a signal")
	errOff    = errors.New("the agent says that the ignition is off")
)

// run ends when the machine is to restart; the error says why.
func (s *supervisor) run() error {
	var err error
	if s.signs, err = listen(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM) // Ctrl-Alt-Del, and by hand
	failures, wait := 0, backoffMin
	for {
		began := time.Now()
		why := s.once(stop)
		if errors.Is(why, errAsked) || errors.Is(why, errSignal) || errors.Is(why, errOff) {
			return why
		}
		if time.Since(began) > steady {
			failures, wait = 0, backoffMin
		}
		failures++
		say("agent: %v (%d of %d)", why, failures, s.cfg.Tries)
		if failures >= s.cfg.Tries {
			return fmt.Errorf("the agent does not stay up: %w", why)
		}
		s.sleep(wait)
		wait = min(2*wait, backoffMax)
	}
}

// sleep waits and feeds the watchdog meanwhile.
func (s *supervisor) sleep(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.dog.feed()
		time.Sleep(min(time.Until(end), time.Second))
	}
}

// once runs the agent until it ends or falls silent. The watchdog is fed as
// long as its time has not come.
func (s *supervisor) once(stop <-chan os.Signal) error {
	env := []string{
		"NOTIFY_SOCKET=" + notifySocket,
		"WATCHDOG_USEC=" + strconv.FormatInt(s.cfg.Silence.Microseconds(), 10),
	}
	words, sockets := s.hand()
	pid, ended, err := s.children.start(command(s.cfg.Command), append(env, words...), sockets...)
	for _, socket := range sockets {
		socket.Close()
	}
	if err != nil {
		return err
	}
	say("agent started")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	mark := time.NewTicker(10 * time.Minute)
	defer mark.Stop()
	limit := time.Now().Add(s.cfg.Start)
	for {
		select {
		case status := <-ended:
			return describe(status)
		case got := <-s.signs:
			if got == ready {
				say("agent ready")
			}
			limit = time.Now().Add(s.cfg.Silence)
		case <-tick.C:
			if time.Now().After(limit) {
				_ = unix.Kill(-pid, unix.SIGKILL)
				<-ended
				return errors.New("showed no sign of life, was killed")
			}
			s.dog.feed()
		case <-mark.C:
			markTime()
		case <-stop:
			end(pid, ended)
			return errSignal
		}
	}
}

// end stops the agent, which stores what it has.
func end(pid int, ended <-chan unix.WaitStatus) {
	_ = unix.Kill(pid, unix.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopTime):
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// describe turns the end of the agent into an error.
func describe(status unix.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("was killed by signal %d", status.Signal())
	case status.ExitStatus() == slots.ExitRestart:
		return errAsked
	case status.ExitStatus() == power.ExitPowerOff:
		return errOff
	}
	return fmt.Errorf("ended with exit code %d", status.ExitStatus())
}

// command is the agent's command line; what the device's identity names wins over the image's settings.
func command(args []string) []string {
	args = args[:len(args):len(args)]
	for _, name := range []string{"endpoint", "download"} {
		text, err := os.ReadFile(filepath.Join(identityDir, name))
		if err != nil {
			continue
		}
		for _, address := range strings.Fields(string(text)) {
			args = append(args, "--"+name, address)
		}
	}
	return args
}
