//go:build linux

package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	backoffMin = time.Second
	backoffMax = 30 * time.Second
	// steady is how long the agent must have run so that its earlier failures are forgotten.
	steady = 5 * time.Minute
	// stopTime is what the agent gets to store and end.
	stopTime = 5 * time.Second
)

// Say prints a line on the console, in the form of fmt.Printf.
type Say = func(format string, args ...any)

// Agent says how the agent is run.
type Agent struct {
	Command []string
	// User is who it runs as.
	User User
	// Start is how long it may take until it says that it is ready, Silence how
	// long it may show no sign of life later.
	Start, Silence time.Duration
	// Tries is how often in a row it may end or fall silent before the machine restarts.
	Tries int
	// Notify is the socket by which it shows life; it is made.
	Notify string
	// Restart and PowerOff are the exit codes by which it asks for them.
	Restart, PowerOff int
}

// Supervisor keeps the agent running. Owned by Run.
type Supervisor struct {
	Agent    Agent
	Children *Reaper
	Sockets  []Socket // of the buses; the first agent gets them
	Feed     func()   // feeds the watchdog; not called any more when the agent's time is over
	Mark     func()   // called every ten minutes
	// Prepare is called before each start of the agent, Clear after each end: it ends what the agent left behind.
	Prepare, Clear func()
	Say            Say

	signs <-chan sign
}

// Socket is a CAN socket that is opened before the agent runs.
type Socket struct {
	Bus  string // interface
	File *os.File
}

// hand gives the sockets away, once, with the words that tell of them: those of
// sd_listen_fds(3), but for the process's number, which is not known yet.
func (s *Supervisor) hand() (env []string, files []*os.File) {
	if len(s.Sockets) == 0 {
		return nil, nil
	}
	var names []string
	for _, h := range s.Sockets {
		names, files = append(names, h.Bus), append(files, h.File)
	}
	s.Sockets = nil
	return []string{"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}, files
}

// ErrOff is why the machine is to be switched off.
var ErrOff = errors.New("the agent says that the ignition is off")

// Why else a run of the agent is the last one.
var (
	errAsked  = errors.New("the agent asks for it")
	errSignal = errors.New("told by a signal")
)

// Run ends when the machine is to restart, or to be switched off after ErrOff; the error says why.
func (s *Supervisor) Run() error {
	var err error
	if s.signs, err = listen(s.Say, s.Agent.Notify, s.Agent.User.ID); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM) // Ctrl-Alt-Del, and by hand
	failures, wait := 0, backoffMin
	for {
		began := time.Now()
		why := s.once(stop)
		if errors.Is(why, errAsked) || errors.Is(why, errSignal) || errors.Is(why, ErrOff) {
			return why
		}
		if time.Since(began) > steady {
			failures, wait = 0, backoffMin
		}
		failures++
		s.Say("agent: %v (%d of %d)", why, failures, s.Agent.Tries)
		if failures >= s.Agent.Tries {
			return fmt.Errorf("the agent does not stay up: %w", why)
		}
		s.sleep(wait)
		wait = min(2*wait, backoffMax)
	}
}

// sleep waits and feeds the watchdog meanwhile.
func (s *Supervisor) sleep(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.Feed()
		time.Sleep(min(time.Until(end), time.Second))
	}
}

// once runs the agent until it ends or falls silent. The watchdog is fed as
// long as its time has not come.
func (s *Supervisor) once(stop <-chan os.Signal) error {
	env := []string{
		"NOTIFY_SOCKET=" + s.Agent.Notify,
		"WATCHDOG_USEC=" + strconv.FormatInt(s.Agent.Silence.Microseconds(), 10),
	}
	s.Prepare()
	defer s.Clear()
	words, sockets := s.hand()
	pid, ended, err := s.Children.start(s.Agent.User, s.Agent.Command, append(env, words...), sockets...)
	for _, socket := range sockets {
		socket.Close()
	}
	if err != nil {
		return err
	}
	s.Say("agent started; %s", rights(pid))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	mark := time.NewTicker(10 * time.Minute)
	defer mark.Stop()
	limit := time.Now().Add(s.Agent.Start)
	for {
		select {
		case status := <-ended:
			return s.Agent.describe(status)
		case got := <-s.signs:
			if got == ready {
				s.Say("agent ready")
			}
			limit = time.Now().Add(s.Agent.Silence)
		case <-tick.C:
			if time.Now().After(limit) {
				_ = unix.Kill(-pid, unix.SIGKILL)
				<-ended
				return errors.New("showed no sign of life, was killed")
			}
			s.Feed()
		case <-mark.C:
			s.Mark()
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
func (a Agent) describe(status unix.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("was killed by signal %d", status.Signal())
	case status.ExitStatus() == a.Restart:
		return errAsked
	case status.ExitStatus() == a.PowerOff:
		return ErrOff
	}
	return fmt.Errorf("ended with exit code %d", status.ExitStatus())
}
