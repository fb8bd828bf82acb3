package routes_test

import (
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/hal/network"
	"telltale.dev/hal/network/networktest"
	"telltale.dev/hal/network/routes"
)

// Lines as kernel 6.1 writes them.
const (
	head  = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	eth0  = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
	local = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
	wlan0 = "wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
	wwan0 = "wwan0\t00000000\t0100A8C0\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
	no4   = "*\t00000000\t00000000\t0200\t0\t0\t0\t00000000\t0\t0\t0\n"
	six   = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003    usb0\n"
	no6   = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
)

// kernel makes the kernel's files.
type kernel struct {
	t         *testing.T
	proc, sys string
}

func newKernel(t *testing.T) *kernel {
	k := &kernel{t: t, proc: t.TempDir(), sys: t.TempDir()}
	k.write(filepath.Join(k.sys, "eth0", "type"), "1\n")
	k.write(filepath.Join(k.sys, "wlan0", "uevent"), "DEVTYPE=wlan\nINTERFACE=wlan0\n")
	k.write(filepath.Join(k.sys, "wwan0", "uevent"), "DEVTYPE=wwan\n")
	k.write(filepath.Join(k.sys, "usb0", "type"), "519\n")
	return k
}

func (k *kernel) write(name, text string) {
	k.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) routes(four, six string) {
	k.write(filepath.Join(k.proc, "route"), head+four)
	k.write(filepath.Join(k.proc, "ipv6_route"), six)
}

func TestMonitor(t *testing.T) {
	networktest.Run(t, func(t *testing.T) (network.Monitor, func(bool)) {
		k := newKernel(t)
		k.routes(eth0, "")
		return routes.New(routes.Config{Proc: k.proc, Sys: k.sys}), func(cellular bool) {
			if cellular {
				k.routes(wwan0, "")
			} else {
				k.routes(eth0, "")
			}
		}
	})
}

func TestNow(t *testing.T) {
	for _, test := range []struct {
		name, four, six string
		want            network.State
	}{
		{"none", local, "", network.State{Type: network.None}},
		{"rejected", no4, no6, network.State{Type: network.None}},
		{"ethernet", local + eth0, no6, network.State{Type: network.Ethernet, Interface: "eth0"}},
		{"lowest metric", wlan0 + eth0 + wwan0, "", network.State{Type: network.Cellular, Interface: "wwan0", Metered: true}},
		{"wifi", wlan0, six, network.State{Type: network.WiFi, Interface: "wlan0"}},
		{"modem over IPv6", local, no6 + six, network.State{Type: network.Cellular, Interface: "usb0", Metered: true}},
		{"damaged", "eth0 00000000\neth0\t00000000\tx\tzz\t0\t0\tzz\t00000000\n", "00\n", network.State{Type: network.None}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKernel(t)
			k.routes(test.four, test.six)
			got, err := routes.New(routes.Config{Proc: k.proc, Sys: k.sys}).Now()
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
	empty := routes.New(routes.Config{Proc: t.TempDir(), Sys: t.TempDir()})
	if got, err := empty.Now(); err != nil || got.Type != network.None {
		t.Errorf("no files: got %+v, %v", got, err)
	}
	// And on this machine it says something.
	if got, err := routes.New(routes.Config{}).Now(); err != nil || got.Type == network.Unknown {
		t.Errorf("here: got %+v, %v", got, err)
	}
}
