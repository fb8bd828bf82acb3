// Package routes tells the state of the link from what the Linux kernel knows: the
// interface of the default route, and its kind. Whether a modem roams the kernel does not
// know; a cellular link is taken for one that costs money.
//
// The kernel's files are looked at every two seconds.
package routes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telltale.dev/hal/network"
)

// poll is how often the kernel's files are looked at.
const poll = 2 * time.Second

// Config says where the kernel's files are; the zero value is right on a device.
type Config struct {
	Proc string // folder of route and ipv6_route; empty: /proc/net
	Sys  string // folder of the interfaces; empty: /sys/class/net
}

// Monitor looks at the kernel's files.
type Monitor struct{ cfg Config }

var _ network.Monitor = (*Monitor)(nil)

// New makes a Monitor.
func New(cfg Config) *Monitor {
	if cfg.Proc == "" {
		cfg.Proc = "/proc/net"
	}
	if cfg.Sys == "" {
		cfg.Sys = "/sys/class/net"
	}
	return &Monitor{cfg: cfg}
}

// Next implements network.Monitor.
func (m *Monitor) Next(ctx context.Context, last network.State) (network.State, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if ctx.Err() != nil {
			return network.State{}, ctx.Err()
		}
		if state, err := m.Now(); err != nil || state != last {
			return state, err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Now gives the present state.
func (m *Monitor) Now() (network.State, error) {
	name, err := m.route4()
	if err != nil {
		return network.State{}, err
	}
	if name == "" {
		if name, err = m.route6(); err != nil {
			return network.State{}, err
		}
	}
	if name == "" {
		return network.State{Type: network.None}, nil
	}
	kind := m.kind(name)
	return network.State{Type: kind, Interface: name, Metered: kind == network.Cellular}, nil
}

// Flags of a route, include/uapi/linux/route.h and ipv6_route.h.
const (
	routeUp     = 0x1
	routeReject = 0x200
)

// route4 gives the interface of the IPv4 default route with the lowest metric, or "".
// Source: net/ipv4/fib_trie.c, fib_route_seq_show.
func (m *Monitor) route4() (name string, err error) {
	best := uint64(1 << 63)
	err = m.lines("route", func(f []string) {
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			return
		}
		flags, err1 := strconv.ParseUint(f[3], 16, 32)
		metric, err2 := strconv.ParseUint(f[6], 10, 32)
		if err1 == nil && err2 == nil && flags&routeUp != 0 && flags&routeReject == 0 && metric < best {
			name, best = f[0], metric
		}
	})
	return name, err
}

// route6 is route4 for IPv6. Source: net/ipv6/route.c, rt6_native_seq_show.
func (m *Monitor) route6() (name string, err error) {
	best := uint64(1 << 63)
	err = m.lines("ipv6_route", func(f []string) {
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || f[9] == "lo" {
			return
		}
		metric, err1 := strconv.ParseUint(f[5], 16, 32)
		flags, err2 := strconv.ParseUint(f[8], 16, 32)
		if err1 == nil && err2 == nil && flags&routeUp != 0 && flags&routeReject == 0 && metric < best {
			name, best = f[9], metric
		}
	})
	return name, err
}

// lines gives the fields of each line; a file that is not there has none.
func (m *Monitor) lines(file string, each func(fields []string)) error {
	f, err := os.Open(filepath.Join(m.cfg.Proc, file))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("network: %s: %w", file, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		each(strings.Fields(lines.Text()))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("network: %s: %w", file, err)
	}
	return nil
}

// ARP hardware types, include/uapi/linux/if_arp.h.
const (
	arpPPP   = "512"
	arpRawIP = "519"
)

// kind tells the kind of an interface.
func (m *Monitor) kind(name string) network.Type {
	dir := filepath.Join(m.cfg.Sys, filepath.Base(name))
	uevent, _ := os.ReadFile(filepath.Join(dir, "uevent"))
	hardware, _ := os.ReadFile(filepath.Join(dir, "type"))
	arp := strings.TrimSpace(string(hardware))
	switch {
	case strings.Contains(string(uevent), "DEVTYPE=wlan"), exists(dir, "wireless"), exists(dir, "phy80211"):
		return network.WiFi
	case strings.Contains(string(uevent), "DEVTYPE=wwan"), arp == arpPPP, arp == arpRawIP, cellularName(name):
		return network.Cellular
	}
	return network.Ethernet
}

// cellularName says whether drivers of modems give such names.
func cellularName(name string) bool {
	for _, prefix := range []string{"ww", "rmnet", "ppp", "ccmni"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
