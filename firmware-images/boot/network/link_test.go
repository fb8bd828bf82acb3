//go:build linux

package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// ownNetwork runs the calling test once more in a network of its own, in which only lo is, and says whether this is that run.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	const inside = "TELLTALE_OWN_NETWORK"
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("a network of its own: %v; expected a kernel that lets users have one", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

// TestOnlyAddress: a new lease's address takes the place of the former one, also one of the same network, and the same address
// once more changes nothing.
func TestOnlyAddress(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	if err := InterfaceUp("lo"); err != nil {
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"192.0.2.7/24", "192.0.2.9/24", "192.0.2.9/24", "192.0.2.9/25", "198.51.100.1/30"} {
		if err := setAddress(lo, netip.MustParsePrefix(want)); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		all, err := lo.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range all {
			if !strings.Contains(a.String(), ":") {
				got = append(got, a.String())
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s alone", got, want)
		}
	}
}

// TestGateway: a new lease's router takes the place of the former one; one that cannot be reached is refused by the kernel's own word.
func TestGateway(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	if err := InterfaceUp("lo"); err != nil {
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := setGateway(lo.Index, [4]byte{192, 0, 2, 1}); err != syscall.ENETUNREACH {
		t.Errorf("no address yet: got %v, want ENETUNREACH", err)
	}
	if err := setAddress(lo, netip.MustParsePrefix("192.0.2.7/24")); err != nil {
		t.Fatal(err)
	}
	for gateway, want := range map[[4]byte]string{{192, 0, 2, 1}: "010200C0", {192, 0, 2, 2}: "020200C0"} {
		if err := setGateway(lo.Index, gateway); err != nil {
			t.Fatal(err)
		}
		table, err := os.ReadFile("/proc/self/net/route")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 2 && f[1] == "00000000" {
				got = append(got, f[2])
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v: got routers %v, want %s", gateway, got, want)
		}
	}
}
