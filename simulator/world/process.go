package world

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrExited is wrapped when a child process ended that should be running.
var ErrExited = errors.New("ended unexpectedly")

// stopWait is how long a child may take to end after SIGTERM.
const stopWait = 30 * time.Second

// process is one running child. Its standard output is a stream of JSON lines;
// its standard error goes to a log file.
type process struct {
	name string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when the process has ended and its output is read

	mu      sync.Mutex // guards expected and err
	wanted  bool       // we ended it ourselves
	exitErr error
}

// startProcess runs a program. Each line that it prints is given to line.
func startProcess(name, program, logFile string, line func([]byte), args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: log: %w", name, err)
	}
	p := &process{name: name, cmd: exec.Command(program, args...), tail: &tail{to: log}, done: make(chan struct{})}
	p.cmd.Stderr = p.tail
	p.cmd.SysProcAttr = childAttributes()
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.follow(out, log, line)
	return p, nil
}

// maxLine bounds a line of a child's output.
const maxLine = 1 << 20

// follow reads the output until the process ends.
func (p *process) follow(out io.Reader, log io.Closer, line func([]byte)) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line(lines.Bytes())
	}
	_, _ = io.Copy(io.Discard, out)
	err := p.cmd.Wait()
	_ = log.Close()
	p.mu.Lock()
	p.exitErr = err
	p.mu.Unlock()
	close(p.done)
}

// running says whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// failure tells what went wrong with a process that ended on its own, nil when it runs or when we ended it.
func (p *process) failure() error {
	if p.running() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted {
		return nil
	}
	err := fmt.Errorf("%s %w (%v)", p.name, ErrExited, p.exitErr)
	if last := p.tail.last(); last != "" { // killed programs say nothing
		err = fmt.Errorf("%w: %s", err, last)
	}
	return err
}

// kill sends SIGKILL: the process loses what is in its memory.
func (p *process) kill() {
	p.expect()
	_ = p.cmd.Process.Kill()
	<-p.done
}

// freeze keeps the process from running on; only kill ends it then.
func (p *process) freeze() {
	p.expect()
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
}

// stop asks the process to end and waits for it.
func (p *process) stop(ctx context.Context) error {
	if !p.running() {
		return p.failure()
	}
	p.expect()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(stopWait):
		p.kill()
		return fmt.Errorf("%s did not end within %v after SIGTERM", p.name, stopWait)
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exitErr != nil {
		return fmt.Errorf("%s: %w: %s", p.name, p.exitErr, p.tail.last())
	}
	return nil
}

func (p *process) expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
}

// tail passes a log on to its file and remembers the last lines.
type tail struct {
	to io.Writer

	mu   sync.Mutex // guards text
	text []byte
}

// tailBytes is how much of a log is remembered for error messages.
const tailBytes = 2 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.text = append(t.text, b...)
	if n := len(t.text) - tailBytes; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	t.mu.Unlock()
	return t.to.Write(b)
}

// last gives the last line that is not empty.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return lines[len(lines)-1]
}
