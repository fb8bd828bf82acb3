package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/canbus/virtual"
)

// errBus is the form of --can.
var errBus = errors.New("expected NAME=URL, or the name of a CAN interface")

// opener opens an interface: socketcan.Open, or what stands for it.
type opener func(context.Context, socketcan.Options) (canbus.Bus, error)

// busInput reads one --can: NAME=URL, NAME=INTERFACE, or an interface that
// gives the bus its name. The driver goes by the URL's scheme. Whatever can be
// wrong about the words is found here; the bus itself is opened later. On
// every bus only what its configuration allows can be sent, by default nothing.
func busInput(arg string, open opener) (frames.Input, error) {
	name, url, named := strings.Cut(arg, "=")
	if !named {
		url = arg
	}
	if name == "" || url == "" || strings.ContainsAny(name, ":?/, ") {
		return frames.Input{}, errBus
	}
	if strings.HasPrefix(url, virtual.Scheme+":") {
		if _, err := virtual.ParseURL(url); err != nil {
			return frames.Input{}, err
		}
		return guarded(name, canbus.Permission{}, func(ctx context.Context) (canbus.Bus, error) { return virtual.Dial(ctx, url) }), nil
	}
	o, err := socketcan.ParseURL(url)
	if err != nil {
		return frames.Input{}, err
	}
	return guarded(name, o.Send, func(ctx context.Context) (canbus.Bus, error) { return open(ctx, o) }), nil
}

func guarded(name string, p canbus.Permission, open func(context.Context) (canbus.Bus, error)) frames.Input {
	return frames.Input{Name: name, Open: func(ctx context.Context) (canbus.Bus, error) {
		bus, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return canbus.Restrict(name, bus, p), nil
	}}
}

// busInputs reads all of them; no two may have one name.
func (c *configured) busInputs(open opener) ([]frames.Input, error) {
	var list []frames.Input
	seen := map[string]bool{}
	for _, arg := range c.Can {
		in, err := busInput(arg, open)
		if err == nil && seen[in.Name] {
			err = fmt.Errorf("expected a name that no other bus has, found %s twice", in.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.At("can", arg), err)
		}
		seen[in.Name] = true
		list = append(list, in)
	}
	return list, nil
}
