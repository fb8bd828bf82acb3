//go:build linux

package buses

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/hal/canbus/socketcan"
)

// world is an interface that comes and goes.
type world struct {
	mu     sync.Mutex // guards all
	index  int
	up     bool
	broken error
	opened int
	said   []string
}

func (w *world) look(string) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index, w.up
}

func (w *world) open(b Bus) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened++
	if w.broken != nil {
		return w.broken
	}
	if w.index == 0 && b.VCAN {
		w.index = 99
	}
	w.up = true
	return nil
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *world) set(index int, up bool, broken error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index, w.up, w.broken = index, up, broken
}

// wants compares what was done and said since the last time.
func (w *world) wants(t *testing.T, opened int, said ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := strings.Join(w.said, "; "), strings.Join(said, "; "); got != want || w.opened != opened {
		t.Errorf("got %d set-ups and %q, want %d and %q", w.opened, got, opened, want)
	}
	w.opened, w.said = 0, nil
}

// TestKeep: a bus that goes away, comes again as another interface, or goes down is set up at once; nothing is set up that is well; a
// bus that cannot be set up is tried again and again, said once, and never without a pause.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w, changed := &world{index: 3, up: true}, make(chan struct{}, 1)
		k := &keeper{bus: Bus{Name: "can0", Listen: "socketcan:can0"}, say: w.say, look: w.look, open: w.open, index: 3}
		ended := make(chan struct{})
		go func() { defer close(ended); k.run(ctx, changed) }()
		w.wants(t, 0)
		change := func(index int, up bool, broken error) {
			w.set(index, up, broken)
			changed <- struct{}{}
		}
		change(0, false, nil)
		w.wants(t, 0, "bus can0: the interface is gone")
		change(0, false, nil)
		w.wants(t, 0)
		change(4, false, nil)
		w.wants(t, 1, "bus can0: set up again")
		change(4, true, nil)
		w.wants(t, 0)
		change(4, false, nil)
		w.wants(t, 1, "bus can0: set up again")
		change(5, true, nil) // somebody else has taken it up, perhaps otherwise
		w.wants(t, 1, "bus can0: set up again")
		change(6, false, errors.New("no such bit rate"))
		w.wants(t, 1, "bus can0: no such bit rate")
		changed <- struct{}{}
		w.wants(t, 0) // its own doing is no reason to try again at once
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.mu.Lock(); w.opened < 10 || w.opened > 20 || len(w.said) != 0 {
			t.Errorf("in a minute: got %d tries and %q, want some without a word", w.opened, w.said)
		}
		w.opened = 0
		w.mu.Unlock()
		w.set(6, false, nil)
		time.Sleep(retryMax)
		w.wants(t, 1, "bus can0: set up again")
		w.set(6, false, nil) // the kernel tells nothing
		time.Sleep(lookEvery)
		w.wants(t, 1, "bus can0: set up again")
		cancel()
		<-ended
	})
}

// TestKeepVirtual: one that is made here is made again.
func TestKeepVirtual(t *testing.T) {
	w := &world{}
	k := &keeper{bus: Bus{Name: "can0", VCAN: true}, say: w.say, look: w.look, open: w.open, index: 3}
	if !k.keep() || w.index != 99 || k.index != 99 {
		t.Errorf("got interface %d, want a new one", w.index)
	}
}

// TestKeepOnKernel does it on a kernel: taken down, and taken away.
func TestKeepOnKernel(t *testing.T) {
	b := Bus{Name: "telltale9", VCAN: true, Listen: "socketcan:telltale9"}
	socket, err := Open(b)
	if err != nil {
		if os.Getuid() != 0 || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EPERM) || strings.Contains(err.Error(), "no CAN sockets") {
			t.Skipf("vcan: %v; make test-vm has it", err)
		}
		t.Fatal(err)
	}
	socket.Close()
	defer func() { _ = socketcan.Remove(b.Name) }()
	ctx, cancel := context.WithCancel(t.Context())
	said, ended := make(chan string, 16), make(chan struct{})
	go func() {
		defer close(ended)
		Keep(ctx, func(format string, args ...any) { said <- fmt.Sprintf(format, args...) }, b, true)
	}()
	for _, harm := range []func() error{
		func() error { return socketcan.SetUp(b.Name, false) },
		func() error { return socketcan.Remove(b.Name) },
		func() error { return socketcan.SetUp(b.Name, false) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != "bus telltale9: set up again" {
			t.Errorf("got %q", got)
		}
		if _, up := lookAt(b.Name); !up {
			t.Error("the interface is down")
		}
	}
	cancel()
	<-ended
}
