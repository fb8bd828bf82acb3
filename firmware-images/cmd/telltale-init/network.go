//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
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
)

// network obtains an address by DHCP and keeps it. It never gives up.
func network(ctx context.Context, name string, wait time.Duration) {
	said := ""
	for ctx.Err() == nil {
		lease, err := obtain(ctx, name)
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
func obtain(ctx context.Context, name string) (time.Duration, error) {
	if err := appears("/sys/class/net/"+name, portWait); err != nil {
		return 0, err
	}
	if err := interfaceUp(name); err != nil {
		return 0, err
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
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
	return lease.ACK.IPAddressLeaseTime(leaseTime), apply(link.Index, lease.ACK)
}

// apply sets address, route and name servers.
func apply(index int, ack *dhcpv4.DHCPv4) error {
	ip := ack.YourIPAddr.To4()
	prefix, bits := ack.SubnetMask().Size()
	if ip == nil || bits != 32 {
		return fmt.Errorf("lease: expected an IPv4 address with its mask, got %v", ack.YourIPAddr)
	}
	if err := setAddress(index, [4]byte(ip), prefix); err != nil {
		return fmt.Errorf("address %v: %w", ip, err)
	}
	for _, router := range ack.Router() {
		if r := router.To4(); r != nil {
			if err := setGateway(index, [4]byte(r)); err != nil {
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
