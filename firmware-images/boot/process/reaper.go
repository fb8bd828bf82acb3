//go:build linux

// Package process runs a device's programs, as its first process must: it waits for all that end, keeps
// the agent running, and notices when that shows no life.
package process

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reaper waits for all processes that end: its own children and those that
// others left behind. Package os/exec cannot be used beside it.
type Reaper struct {
	// Output is where programs print; nil: where this process does.
	Output *os.File

	mu      sync.Mutex // guards waiting, and keeps Run from missing a child that ends at once
	waiting map[int]chan unix.WaitStatus
	signals chan os.Signal
}

// NewReaper notes from now on which processes end; Run must be started.
func NewReaper() *Reaper {
	r := &Reaper{waiting: map[int]chan unix.WaitStatus{}, signals: make(chan os.Signal, 1)}
	signal.Notify(r.signals, syscall.SIGCHLD)
	return r
}

// Run never ends.
func (r *Reaper) Run() {
	for range r.signals {
		r.reap()
	}
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended := r.waiting[pid]; ended != nil {
			ended <- status
			delete(r.waiting, pid)
		}
	}
}

// start starts a program as a user on the console, with further files from descriptor 3
// on; its end comes on the channel.
func (r *Reaper) start(user User, args, env []string, files ...*os.File) (pid int, ended <-chan unix.WaitStatus, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	output := r.Output
	if output == nil {
		output = os.Stdout
	}
	var p *os.Process
	err = user.confined(func() (err error) {
		p, err = os.StartProcess(args[0], args, &os.ProcAttr{
			Dir: "/", Env: append([]string{"PATH=/bin:/sbin:/usr/sbin", "HOME=/root", "TMPDIR=/tmp"}, env...),
			Files: append([]*os.File{nil, output, output}, files...), Sys: user.attributes(),
		})
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	status := make(chan unix.WaitStatus, 1)
	r.waiting[p.Pid] = status
	pid = p.Pid
	_ = p.Release()
	return pid, status, nil
}

// Call runs a program as root to its end and gives the exit code.
func (r *Reaper) Call(args ...string) (int, error) {
	_, ended, err := r.start(User{}, args, nil)
	if err != nil {
		return 0, err
	}
	status := <-ended
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}
