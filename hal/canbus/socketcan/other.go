//go:build !linux

package socketcan

import (
	"context"
	"fmt"

	"telltale.dev/hal/canbus"
)

// Open fails: there is no SocketCAN on this system.
func Open(_ context.Context, o Options) (canbus.Bus, error) {
	return nil, fmt.Errorf("%w: can interface %s: SocketCAN is a part of Linux; use a virtual:// bus on this system", canbus.ErrConfig, o.Interface)
}

// Adopt fails as Open does.
func Adopt(_ int, o Options) (canbus.Bus, error) { return Open(context.Background(), o) }

// InOrder calls send.
func InOrder(send func() error) error { return send() }
