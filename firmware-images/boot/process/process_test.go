//go:build linux

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// children reap all children of the tests.
var children = NewReaper()

func TestMain(m *testing.M) {
	go children.Run()
	os.Exit(m.Run())
}

// TestSocketsAreHandedOnce: the first agent gets them, with the words that tell of them.
func TestSocketsAreHandedOnce(t *testing.T) {
	a, b, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	s := &Supervisor{Sockets: []Socket{{"can0", a}, {"can1", b}}}
	words, files := s.hand()
	if got := strings.Join(words, " "); got != "LISTEN_FDS=2 LISTEN_FDNAMES=can0:can1" || len(files) != 2 || files[1] != b {
		t.Errorf("got %s with %d files", got, len(files))
	}
	if words, files := s.hand(); words != nil || files != nil {
		t.Errorf("the second time: got %v, %v", words, files)
	}
}

func TestCall(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 128 + 9} {
		if got, err := children.Call("/bin/sh", "-c", script); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", script, got, err, want)
		}
	}
	if _, err := children.Call("/no/such/program"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

// TestSupervisor runs agents that are shell scripts to the end of the machine's life.
func TestSupervisor(t *testing.T) {
	for _, c := range []struct {
		name, script string
		why          string // the end of the machine's life
		off          bool
		starts       int
	}{
		{"asks for a restart", "exit 77", "the agent asks for it", false, 1},
		{"asks to be switched off", "exit 78", "the ignition is off", true, 1},
		{"ends twice", "exit 3", "does not stay up: ended with exit code 3", false, 2},
		{"is killed", "kill -9 $$", "does not stay up: was killed by signal 9", false, 2},
		{"shows no life", "sleep 60", "does not stay up: showed no sign of life, was killed", false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var said, steps []string
			var fed atomic.Int64
			s := &Supervisor{
				Agent: Agent{
					Command: []string{"/bin/sh", "-c", c.script}, Start: time.Millisecond, Silence: time.Millisecond, Tries: 2,
					Notify: filepath.Join(t.TempDir(), "notify"), Restart: 77, PowerOff: 78,
				},
				Children: children, Feed: func() { fed.Add(1) }, Mark: func() {},
				Prepare: func() { steps = append(steps, "prepare") }, Clear: func() { steps = append(steps, "clear") },
				Say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
			}
			err := s.Run()
			if err == nil || !strings.Contains(err.Error(), c.why) || errors.Is(err, ErrOff) != c.off {
				t.Errorf("got %v, want %q", err, c.why)
			}
			if got := strings.Count(strings.Join(said, "\n"), "agent started"); got != c.starts {
				t.Errorf("got %d starts, want %d: %q", got, c.starts, said)
			}
			if want := strings.TrimSpace(strings.Repeat("prepare clear ", c.starts)); strings.Join(steps, " ") != want {
				t.Errorf("around the starts: got %v, want %s", steps, want)
			}
			if c.starts > 1 && fed.Load() == 0 {
				t.Error("the watchdog was not fed between two starts")
			}
		})
	}
}

// TestUser: a program that is started as a user can never do more than that user and has no further group, and no thread of the
// process that starts it loses anything. Who may not start it so gets an error and no process.
func TestUser(t *testing.T) {
	before := threads(t)
	for _, c := range []struct {
		user User
		want string
	}{
		{User{ID: 990}, "Uid 990 990 990 990, Gid 990 990 990 990, CapPrm 0000000000000000, CapEff 0000000000000000, CapBnd 0000000000000000, CapAmb 0000000000000000, NoNewPrivs 1"},
		{User{ID: 991, NetAdmin: true}, "Uid 991 991 991 991, Gid 991 991 991 991, CapPrm 0000000000001000, CapEff 0000000000001000, CapBnd 0000000000001000, CapAmb 0000000000001000, NoNewPrivs 1"},
	} {
		pid, ended, err := children.start(c.user, []string{"/bin/sleep", "60"}, nil)
		if os.Getuid() != 0 {
			if !errors.Is(err, syscall.EPERM) {
				t.Errorf("%+v: got %v, want that it is not permitted", c.user, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := rights(pid); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(strings.ReplaceAll(string(status), " ", ""), "\nGroups:\t\n") {
			t.Errorf("got groups in %s, %v, want none", status, err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-ended
	}
	for _, after := range threads(t) {
		if after != before[0] {
			t.Errorf("a thread of this process: got %s, want %s", after, before[0])
		}
	}
}

// threads gives the rights of each thread of this process. Those that are about to end are the ones that start a user's program.
func threads(t *testing.T) (all []string) {
	t.Helper()
	for range 100 {
		all = nil
		ids, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			t.Fatal(err)
		}
		confined := false
		for _, id := range ids {
			got := rightsIn(filepath.Join(id, "status"))
			confined = confined || strings.Contains(got, "NoNewPrivs 1")
			if got != "unknown" { // it has ended meanwhile
				all = append(all, got)
			}
		}
		if !confined {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return all
}

// TestBlockedConsole: nobody who says something waits for a console that takes nothing; what is dropped is counted, and this process's own
// lines come before those of its children.
func TestBlockedConsole(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := NewConsole(w)
	pipe, err := c.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	const lines = 5000 // of 100 bytes: more than pipes and queues hold together
	for i := range lines {
		if _, err := fmt.Fprintf(pipe, "child %0100d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	c.Say("own %d", 1)
	c.Flush(time.Millisecond) // in vain
	pipe.Close()
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(r)
		read <- string(text)
	}()
	c.Flush(time.Minute)
	w.Close()
	text := <-read
	if !strings.Contains(text, "lines dropped, the console was blocked\n") || !strings.Contains(text, " own 1\n") {
		t.Errorf("got %d bytes without the count or the own line", len(text))
	}
	if n := strings.Count(text, "child "); n < childLines || n >= lines {
		t.Errorf("got %d lines of the child, want some hundred", n)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "child ") && !strings.HasPrefix(line, "telltale-init: ") {
			t.Errorf("got a torn line %q", line)
		}
	}
	if own, last := strings.Index(text, " own 1"), strings.LastIndex(text, "child "); own > last {
		t.Error("the own line stands behind all others")
	}
}
