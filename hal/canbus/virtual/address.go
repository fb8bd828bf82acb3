package virtual

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Scheme of the URLs of virtual buses.
const Scheme = "virtual"

// maxSocketPath is what every system allows for the path of a unix socket:
// sun_path has 104 bytes on macOS and 108 on Linux, with a closing zero.
const maxSocketPath = 103

// maxName bounds the names of buses and readers in bytes.
const maxName = 64

// Address says where a hub listens and which of its buses is meant.
type Address struct {
	Network string        // "unix" or "tcp"
	Host    string        // path of the socket, or IP:port
	Bus     string        // name of the bus; empty in an address for Listen
	Name    string        // optional name of the reader, for the owner of the hub
	Wait    time.Duration // how long Dial tries again while nothing listens; 0: not at all
}

// ParseURL reads virtual:///path/to.sock?bus=can0 and virtual://127.0.0.1:4711/can0.
// Optional parameters are name=READER and wait=10s.
func ParseURL(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Address{}, fmt.Errorf("virtual bus: %w", err)
	}
	if u.Scheme != Scheme || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return Address{}, fmt.Errorf("virtual bus %q: want virtual:///path/to.sock?bus=can0 or virtual://127.0.0.1:PORT/can0", text)
	}
	a := Address{}
	if err := a.query(u.RawQuery); err != nil {
		return Address{}, fmt.Errorf("virtual bus %q: %w", text, err)
	}
	if u.Host == "" {
		a.Network, a.Host = "unix", u.Path
	} else {
		a.Network, a.Host = "tcp", u.Host
		if name := strings.Trim(u.Path, "/"); name != "" {
			if a.Bus != "" && a.Bus != name {
				return Address{}, fmt.Errorf("virtual bus %q: names two buses, %s and %s", text, name, a.Bus)
			}
			a.Bus = name
		}
	}
	if err := a.check(); err != nil {
		return Address{}, fmt.Errorf("virtual bus %q: %w", text, err)
	}
	if a.Bus == "" {
		return Address{}, fmt.Errorf("virtual bus %q: names no bus; add ?bus=can0", text)
	}
	return a, nil
}

// query reads the parameters.
func (a *Address) query(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return err
	}
	for key, all := range values {
		if len(all) != 1 {
			return fmt.Errorf("parameter %s is given %d times", key, len(all))
		}
		switch key {
		case "bus":
			a.Bus = all[0]
		case "name":
			a.Name = all[0]
		case "wait":
			if a.Wait, err = time.ParseDuration(all[0]); err != nil || a.Wait < 0 {
				return fmt.Errorf("parameter wait: want a duration such as 10s, got %q", all[0])
			}
		default:
			return fmt.Errorf("unknown parameter %q; there are bus, name and wait", key)
		}
	}
	return nil
}

// listenAddress reads what Listen is given: a path, IP:port, or a URL of either.
func listenAddress(text string) (Address, error) {
	a := Address{Network: "tcp", Host: text}
	switch {
	case strings.HasPrefix(text, Scheme+"://"):
		u, err := url.Parse(text)
		if err != nil {
			return a, err
		}
		if a.Host = u.Host; u.Host == "" {
			a.Network, a.Host = "unix", u.Path
		}
	case strings.ContainsRune(text, filepath.Separator):
		a.Network = "unix"
	}
	return a, a.check()
}

// check refuses what cannot work, and whatever would open the bus to other machines.
func (a *Address) check() error {
	if err := errors.Join(checkName("bus", a.Bus), checkName("reader", a.Name)); err != nil {
		return err
	}
	if a.Network == "unix" {
		switch {
		case a.Host == "" || strings.HasSuffix(a.Host, "/"):
			return errors.New("names no socket file")
		case len(a.Host) > maxSocketPath:
			return fmt.Errorf("the path of the socket has %d bytes; at most %d work everywhere: use a shorter folder, or 127.0.0.1:PORT", len(a.Host), maxSocketPath)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(a.Host)
	if err != nil || port == "" {
		return fmt.Errorf("want IP:PORT or the path of a socket, got %q", a.Host)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not a loopback address; a virtual bus has no authentication and stays on this machine", host)
	}
	return nil
}

// checkName accepts an empty name, letters, digits and _ - .
func checkName(what, name string) error {
	ok := len(name) <= maxName
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.')
	}
	if !ok {
		return fmt.Errorf("the name of a %s has at most %d letters, digits, _ - or ., got %q", what, maxName, name)
	}
	return nil
}

// URL gives the form that ParseURL reads.
func (a Address) URL() string {
	values := url.Values{}
	u := url.URL{Scheme: Scheme}
	if a.Network == "unix" {
		u.Path = a.Host
		values.Set("bus", a.Bus)
	} else {
		u.Host, u.Path = a.Host, "/"+a.Bus
	}
	if a.Name != "" {
		values.Set("name", a.Name)
	}
	if a.Wait > 0 {
		values.Set("wait", a.Wait.String())
	}
	u.RawQuery = values.Encode()
	return u.String()
}

// short names the hub without the folders of this machine.
func (a Address) short() string {
	if a.Network == "unix" {
		return filepath.Base(a.Host)
	}
	return a.Host
}
