//go:build linux

// Package network brings a device's network interfaces up: Ethernet by DHCP, and CAN interfaces that are made
// in software. It changes them by netlink, since an image has no other programs for it.
package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// leaseTime is used when the server names none; requestTime bounds one question.
const (
	leaseTime   = time.Hour
	requestTime = time.Second
	requests    = 3
	// interfaceWait is how long an interface may take to appear.
	interfaceWait = 5 * time.Second
)

// Say prints a line on the console, in the form of fmt.Printf.
type Say = func(format string, args ...any)

// Keep obtains an address for an interface by DHCP and keeps it until ctx ends; wait is between two
// attempts. It never gives up.
func Keep(ctx context.Context, say Say, name string, wait time.Duration) {
	said := ""
	for ctx.Err() == nil {
		lease, err := obtain(ctx, say, name)
		if err != nil {
			if err.Error() != said { // a car in a garage without network says it once
				say("network %s: %v", name, err)
			}
			said = err.Error()
			time.Sleep(wait)
			continue
		}
		said = ""
		time.Sleep(max(lease/2, wait)) // a lease of no time must not keep the network busy
	}
}

// obtain asks for a lease, sets it up and gives its duration.
func obtain(ctx context.Context, say Say, name string) (time.Duration, error) {
	link, err := appears(name, interfaceWait)
	if err != nil {
		return 0, err
	}
	if err := InterfaceUp(name); err != nil {
		return 0, err
	}
	client, err := nclient4.New(name, nclient4.WithTimeout(requestTime), nclient4.WithRetry(requests))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	lease, err := client.Request(ctx)
	if err != nil {
		return 0, err
	}
	return lease.ACK.IPAddressLeaseTime(leaseTime), apply(say, link, lease.ACK)
}

// apply sets address, route and name servers.
func apply(say Say, link *net.Interface, ack *dhcpv4.DHCPv4) error {
	ip := ack.YourIPAddr.To4()
	prefix, bits := ack.SubnetMask().Size()
	if ip == nil || bits != 32 {
		return fmt.Errorf("lease: expected an IPv4 address with its mask, got %v", ack.YourIPAddr)
	}
	if err := setAddress(link, netip.PrefixFrom(netip.AddrFrom4([4]byte(ip)), prefix)); err != nil {
		return fmt.Errorf("address %v: %w", ip, err)
	}
	for _, router := range ack.Router() {
		if r := router.To4(); r != nil {
			if err := setGateway(link.Index, [4]byte(r)); err != nil {
				return fmt.Errorf("gateway %v: %w", r, err)
			}
			break
		}
	}
	var text strings.Builder
	for _, server := range ack.DNS() {
		fmt.Fprintf(&text, "nameserver %v\n", server)
	}
	say("network: %v/%d", ip, prefix)
	return os.WriteFile("/etc/resolv.conf", []byte(text.String()), 0o644)
}

// appears waits for an interface.
func appears(name string, wait time.Duration) (*net.Interface, error) {
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		link, err := net.InterfaceByName(name)
		if err == nil || time.Now().After(end) {
			return link, err
		}
	}
}
