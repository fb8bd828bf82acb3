package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

// VehicleConfig says what a vehicle is made of, beside its devices.
type VehicleConfig struct {
	Name string
	// Interfaces are the buses that are CAN interfaces of the kernel, by name; the others are virtual.
	Interfaces map[string]string
	// Hub is where the virtual buses listen: the path of a unix socket, or IP:port on loopback,
	// which every user of the machine reaches. Empty: a unix socket that only we reach.
	Hub string
	// Tap is given every frame on the buses; see virtual.Config.
	Tap func(bus string, first uint64, frames []can.Frame)
}

// Bus is one bus as a device reads it, and its DBC files.
type Bus struct {
	Name  string
	DBC   []string
	J1939 bool
}

// Vehicle is one car: its buses, and the devices that read them. A bus that several
// devices name is one bus, on which each of them sees every frame.
type Vehicle struct {
	Name    string
	Hub     *virtual.Hub // of the virtual buses
	Devices []*Device

	kernel  []*kernelBus // the other ones
	world   *World
	cfg     VehicleConfig
	ended   context.CancelFunc
	forget  func() error   // removes what the hub leaves behind
	running sync.WaitGroup // hub, interfaces and links
}

// AddVehicle makes the buses of a vehicle, and its devices with their identities and
// links; their agents are not started yet. Names must be identifiers, and
// labels must differ; see Label.
func (w *World) AddVehicle(ctx context.Context, cfg VehicleConfig, devices ...DeviceConfig) (*Vehicle, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v := &Vehicle{Name: cfg.Name, world: w, cfg: cfg, ended: cancel, forget: func() error { return nil }}
	err := v.openBuses(ctx, running, devices)
	for _, d := range devices {
		if err == nil {
			err = v.addDevice(ctx, running, d, len(devices) == 1)
		}
	}
	if err != nil {
		return nil, errors.Join(err, v.close(ctx))
	}
	w.vehicles = append(w.vehicles, v)
	last := v.Devices[len(v.Devices)-1]
	return v, w.setPorts(func(p *Ports) { p.Link, p.Bus = last.Link.Addr(), v.URL(last.cfg.Buses[0].Name) })
}

// AddDevice makes a vehicle with one device.
func (w *World) AddDevice(ctx context.Context, cfg VehicleConfig, device DeviceConfig) (*Device, error) {
	v, err := w.AddVehicle(ctx, cfg, device)
	if err != nil {
		return nil, err
	}
	return v.Devices[0], nil
}

// openBuses makes every bus that a device reads, once.
func (v *Vehicle) openBuses(ctx, running context.Context, devices []DeviceConfig) (err error) {
	var names []string // of the virtual ones
	for _, b := range busesOf(devices) {
		iface := v.cfg.Interfaces[b]
		if iface == "" {
			names = append(names, b)
			continue
		}
		k, err := openInterface(ctx, b, iface)
		if err != nil {
			return err
		}
		v.kernel = append(v.kernel, k)
	}
	hub, forget, err := v.world.openHub(v.cfg, virtual.Config{Buses: names, Tap: v.cfg.Tap, Log: v.world.cfg.Log})
	if err != nil {
		return err
	}
	v.Hub, v.forget = hub, forget
	v.running.Go(func() { v.logged("bus hub", v.Hub.Run(running)) })
	for _, k := range v.kernel {
		v.running.Go(func() { k.watch(running, v.cfg.Tap) })
	}
	return nil
}

// busesOf names the buses of all devices, each once.
func busesOf(devices []DeviceConfig) (names []string) {
	for _, d := range devices {
		for _, b := range d.Buses {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

// Interface is the kernel's interface that stands for a bus; "" when the bus is a virtual one.
func (v *Vehicle) Interface(bus string) string { return v.cfg.Interfaces[bus] }

// URL is what an agent reads a bus by.
func (v *Vehicle) URL(bus string) string {
	if iface := v.Interface(bus); iface != "" {
		return socketcan.Scheme + ":" + iface
	}
	return v.Hub.URL(bus)
}

func (v *Vehicle) logged(what string, err error) {
	if err != nil {
		v.world.cfg.Log.Error(what+" ended", "error", err)
	}
}

func (v *Vehicle) failure() error {
	for _, k := range v.kernel {
		if _, _, err := k.state(); err != nil {
			return fmt.Errorf("bus %s: %w", k.name, err)
		}
	}
	for _, d := range v.Devices {
		if err := d.failure(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the devices first, so that they can say goodbye.
func (v *Vehicle) close(ctx context.Context) (err error) {
	for _, d := range v.Devices {
		err = errors.Join(err, d.Stop(ctx))
	}
	v.ended()
	if v.Hub != nil {
		_ = v.Hub.Close()
	}
	v.running.Wait()
	for _, k := range v.kernel {
		err = errors.Join(err, k.close())
	}
	return errors.Join(err, v.forget())
}
