//go:build linux

package buses

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Waits of Keep. A bus that cannot be set up is tried again after retryMin, then after twice as long each time, up to retryMax.
const (
	lookEvery = 5 * time.Second // when the kernel tells of no change
	retryMin  = 250 * time.Millisecond
	retryMax  = 5 * time.Second
)

// Keep sets a bus up again whenever its interface is there and is not what was set up: a new one, as after an adapter was unplugged, or one that
// went down. It works until ctx ends; up says that the bus is set up now. What goes wrong is said once. The agent attaches by itself:
// it sees a lost bus until then.
func Keep(ctx context.Context, say func(format string, args ...any), b Bus, up bool) {
	k := keeper{bus: b, say: say, look: lookAt, open: setUp}
	if up {
		k.index, _ = lookAt(b.Name)
	}
	k.run(ctx, changes(ctx, say))
}

// keeper is Keep with what it depends on. Owned by run.
type keeper struct {
	bus  Bus
	say  func(format string, args ...any)
	look func(name string) (index int, up bool) // index 0: the interface is not there
	open func(Bus) error

	index int    // of the interface that was set up last; 0: none
	said  string // what went wrong last
}

func (k *keeper) run(ctx context.Context, changed <-chan struct{}) {
	retry := retryMin
	for ctx.Err() == nil {
		wake, pause := changed, lookEvery
		if k.keep() {
			retry = retryMin
		} else { // setting up is itself a change: only time is waited for
			wake, pause, retry = nil, retry, min(2*retry, retryMax)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(pause):
		}
	}
}

// keep looks once, and says whether all is well or there is nothing to set up.
func (k *keeper) keep() bool {
	index, up := k.look(k.bus.Name)
	if index == 0 && !k.bus.VCAN {
		if k.index != 0 {
			k.say("bus %s: the interface is gone", k.bus.Name)
		}
		k.index = 0
		return true
	}
	if up && index == k.index {
		return true
	}
	if err := k.open(k.bus); err != nil {
		if text := err.Error(); text != k.said {
			k.say("bus %s: %v", k.bus.Name, err)
			k.said = text
		}
		return false
	}
	k.index, _ = k.look(k.bus.Name)
	k.said = ""
	k.say("bus %s: set up again", k.bus.Name)
	return true
}

// lookAt asks the kernel for an interface.
func lookAt(name string) (index int, up bool) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0, false
	}
	return link.Index, link.Flags&net.FlagUp != 0
}

// setUp sets the bus up and leaves its frames to the agent.
func setUp(b Bus) error {
	socket, err := Open(b)
	if socket != nil {
		socket.Close()
	}
	return err
}

// changes tells of changes of any interface; several at once are one. Without them Keep looks from time to time.
func changes(ctx context.Context, say func(format string, args ...any)) <-chan struct{} {
	changed := make(chan struct{}, 1)
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK})
	if err != nil {
		say("%v", fmt.Errorf("changes of interfaces: %w", err))
		return changed
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	go func() {
		for {
			_, err := conn.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) { // some were lost, which is a change, too
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed
}
