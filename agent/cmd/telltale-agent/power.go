package main

import (
	"errors"
	"fmt"
	"strings"

	"telltale.dev/agent"
	"telltale.dev/agent/network"
	"telltale.dev/agent/power"
	halnetwork "telltale.dev/hal/network"
	networkfile "telltale.dev/hal/network/file"
	"telltale.dev/hal/network/routes"
	halpower "telltale.dev/hal/power"
	powerfile "telltale.dev/hal/power/file"
	"telltale.dev/hal/power/gpio"
	"telltale.dev/hal/power/sysfs"
)

// watches sets how supply and link are watched.
func (c *configured) watches(cfg *agent.Config) error {
	if _, err := supplyOf(c.PowerIgnition); err != nil {
		return fmt.Errorf("%s: %w", c.At("power-ignition", ""), err)
	}
	cfg.Power = power.Config{
		Sleeper: sysfs.Machine{},
		Window:  c.PowerWindow, After: power.After(c.PowerAfter), WakeAfter: c.PowerWakeAfter,
	}
	if cfg.Power.After != power.Wait { // else the process itself wakes in time
		cfg.Power.Waker = sysfs.Alarm{}
	}
	monitor, err := openMonitor(c.Network)
	if err != nil {
		return fmt.Errorf("%s: %w", c.At("network", ""), err)
	}
	cfg.Network = network.Config{Monitor: monitor, Metered: c.UploadMetered, Roaming: c.UploadRoaming}
	return nil
}

// openSupply opens what --power-ignition names; nil without one.
func (c *configured) openSupply() (halpower.Supply, error) {
	open, err := supplyOf(c.PowerIgnition)
	var supply halpower.Supply
	if err == nil {
		supply, err = open()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.At("power-ignition", ""), err)
	}
	return supply, nil
}

// supplyOf says how to open what a URL names; none gives nil.
func supplyOf(url string) (open func() (halpower.Supply, error), err error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch {
	case url == "" || url == "none":
		return func() (halpower.Supply, error) { return nil, nil }, nil
	case scheme == "file" && rest != "":
		return func() (halpower.Supply, error) { return powerfile.New(rest), nil }, nil
	case scheme == "gpio":
		cfg, err := gpio.Parse(rest)
		if err != nil {
			return nil, err
		}
		return func() (halpower.Supply, error) { return gpio.Open(cfg) }, nil
	}
	return nil, fmt.Errorf("expected file:FILE, gpio:DEVICE?line=N or none, found %q", url)
}

// openMonitor gives what --network names; nil for none.
func openMonitor(url string) (halnetwork.Monitor, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch {
	case url == "none":
		return nil, nil
	case url == "routes":
		return routes.New(routes.Config{}), nil
	case scheme == "file" && rest != "":
		return networkfile.New(rest), nil
	}
	return nil, errors.New("expected routes, file:FILE or none")
}
