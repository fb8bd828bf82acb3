// Package network is the port to what the device knows of its way to the cloud:
// what kind of link it is, whether it roams, whether its bytes cost money.
//
// Drivers are sibling folders: routes asks the Linux kernel, file reads a file that
// a script or ModemManager writes. networktest holds the suite that each Monitor passes,
// and a fake. It sets up no link.
package network

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Type is the kind of link that the default route goes over.
type Type uint8

// The kinds. None means that there is no default route.
const (
	Unknown Type = iota
	None
	Ethernet
	WiFi
	Cellular
)

// names are in the order of the kinds.
func names() []string { return []string{"unknown", "none", "ethernet", "wifi", "cellular"} }

// String gives "unknown", "none", "ethernet", "wifi" or "cellular".
func (t Type) String() string {
	if int(t) < len(names()) {
		return names()[t]
	}
	return "unknown"
}

// ParseType reads what String writes, except "unknown".
func ParseType(s string) (Type, error) {
	for i, name := range names()[1:] {
		if s == name {
			return Type(i + 1), nil
		}
	}
	return Unknown, fmt.Errorf("link type %.40q: expected one of %s", s, strings.Join(names()[1:], ", "))
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; a word it does not know is Unknown.
func (t *Type) UnmarshalText(text []byte) error {
	*t = Type(max(slices.Index(names(), string(text)), 0))
	return nil
}

// State is what is known of the link at one moment. The zero State is what nobody has looked at yet.
type State struct {
	Type      Type   `json:"type"`
	Interface string `json:"interface,omitempty"` // of the default route, empty when unknown
	Roaming   bool   `json:"roaming"`
	Metered   bool   `json:"metered"`
}

// Monitor watches the link.
type Monitor interface {
	// Next waits until the state differs from last and gives it: with the zero State
	// it gives the present one at once, whose Type is not Unknown. It returns ctx.Err() when ctx ends,
	// and another error when the state cannot be told now; it may be called again then.
	Next(ctx context.Context, last State) (State, error)
}
