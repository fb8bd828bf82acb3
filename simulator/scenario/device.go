package scenario

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"telltale.dev/protocol"
	"telltale.dev/simulator/world"
)

// Device is one telematics unit of a vehicle.
type Device struct {
	Name     string            `yaml:"name"`
	Buses    map[string]Bus    `yaml:"bus"`
	Campaign string            `yaml:"campaign"` // file; empty: everything
	Settings map[string]string `yaml:"settings"` // of its agent, by the flag's name; see settings

	bare bool // the file gives only its name; the rest is the vehicle's
}

// maxDevices is how many devices a vehicle may have here. Each is a process of this machine.
const maxDevices = 32

// settings are those of the agent that a scenario may choose. The others are the world's to
// choose, or change nothing that a scenario can show.
var settings = map[string]func(string) error{
	"keep-alive": isDuration, "will-delay": isDuration, "session-expiry": isDuration,
	"backoff-min": isDuration, "backoff-max": isDuration,
	"commit": isDuration, "commit-urgent": isDuration, "drain": isDuration,
	"buffer": isSize,
}

func isDuration(text string) error {
	if d, err := time.ParseDuration(text); err != nil || d < 0 {
		return fmt.Errorf("expected a duration such as 1.5s, found %.32q", text)
	}
	return nil
}

func isSize(text string) error {
	_, err := protocol.ParseSize(text)
	return err
}

// UnmarshalYAML implements yaml.Unmarshaler: a device is a mapping, or only a name.
func (d *Device) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		d.bare = true
		return n.Decode(&d.Name)
	}
	type plain Device // without this method
	if err := n.Decode((*plain)(d)); err != nil {
		return err
	}
	return onlyKeys(n, keys(d))
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (b *Bus) UnmarshalYAML(n *yaml.Node) error {
	type plain Bus // without this method
	if err := n.Decode((*plain)(b)); err != nil {
		return err
	}
	return onlyKeys(n, keys(b))
}

// spread gives the only device what the file says of its vehicle.
func (v *Vehicle) spread() {
	if len(v.Devices) == 1 && v.Devices[0].bare {
		v.Devices[0].Buses, v.Devices[0].Campaign = v.Buses, v.Campaign
	}
}

// checkDevices wants one of the two forms: the name of the only device, whose buses are the
// vehicle's, or devices that each have what is theirs.
func (s *Scenario) checkDevices(v *Vehicle, where []any) error {
	at := func(steps ...any) []any { return append(slices.Clone(where), steps...) }
	bare := func(d Device) bool { return d.bare }
	switch named := slices.ContainsFunc(v.Devices, bare); {
	case len(v.Devices) == 0:
		return misfitAt(errors.New("expected at least one device"), at("devices")...)
	case len(v.Devices) > maxDevices:
		return misfitAt(fmt.Errorf("expected at most %d devices", maxDevices), at("devices", maxDevices)...)
	case named && len(v.Devices) > 1:
		return misfitAt(errors.New("expected one device, or of each of several its name and bus"), at("devices")...)
	case named:
		d := v.Devices[0]
		if _, err := protocol.ParseDeviceID(d.Name); err != nil {
			return misfitAt(err, at("devices", 0)...)
		}
		return s.checkParts(&d, where)
	case v.Buses != nil:
		return misfitAt(errors.New("expected it in each of devices, which are more than names"), at("bus")...)
	case v.Campaign != "":
		return misfitAt(errors.New("expected it in each of devices, which are more than names"), at("campaign")...)
	}
	for k, d := range v.Devices {
		if _, err := protocol.ParseDeviceID(d.Name); err != nil {
			return misfitAt(err, at("devices", k, "name")...)
		}
		// Capitals do not make another name: the devices' folders may be on a disk that does not tell them apart.
		same := func(o Device) bool { return strings.EqualFold(o.Name, d.Name) }
		if slices.ContainsFunc(v.Devices[:k], same) {
			return misfitAt(errors.New("expected a name of its own"), at("devices", k, "name")...)
		}
		if err := s.checkParts(&d, at("devices", k)); err != nil {
			return err
		}
	}
	return nil
}

// checkParts looks at everything of a device but its name.
func (s *Scenario) checkParts(d *Device, where []any) error {
	at := func(steps ...any) []any { return append(slices.Clone(where), steps...) }
	if len(d.Buses) == 0 {
		return misfitAt(errors.New("expected at least one bus"), at("bus")...)
	}
	for _, name := range BusNames(d.Buses) {
		if name == "" || strings.Trim(name, nameRunes+"_.") != "" {
			return misfitAt(fmt.Errorf("expected a name of letters, digits, _ - and ., found %.64q", name), at("bus", name)...)
		}
		for k, file := range d.Buses[name].DBC {
			if err := s.checkFile(file); err != nil {
				return misfitAt(err, at("bus", name, "dbc", k)...)
			}
		}
	}
	if d.Campaign != "" {
		if err := s.checkFile(d.Campaign); err != nil {
			return misfitAt(err, at("campaign")...)
		}
	}
	names := slices.Sorted(maps.Keys(settings))
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		check, ok := settings[name]
		if !ok {
			return misfitAt(fmt.Errorf("expected one of %s", strings.Join(names, ", ")), at("settings", name)...)
		}
		if err := check(d.Settings[name]); err != nil {
			return misfitAt(err, at("settings", name)...)
		}
	}
	return nil
}

// checkLabels refuses two devices of different vehicles whose folders have one name; see world.Label.
func (s *Scenario) checkLabels() error {
	taken := map[string]string{}
	for i, v := range s.World.Vehicles {
		for k, d := range v.Devices {
			label := strings.ToLower(world.Label(v.Name, d.Name, len(v.Devices) == 1))
			other, found := taken[label]
			if found && (len(v.Devices) > 1 || strings.Contains(other, "/")) {
				return misfitAt(fmt.Errorf("expected another name: the folder of its data would be that of %s", other), "world", "vehicles", i, "devices", k)
			}
			taken[label] = v.title(d.Name)
		}
	}
	return nil
}

// title names a device to people: by its vehicle when it is the only one there, else VEHICLE/DEVICE.
func (v *Vehicle) title(device string) string {
	if len(v.Devices) == 1 {
		return v.Name
	}
	return v.Name + "/" + device
}

// find gives the devices that the file means: VEHICLE is all of it, VEHICLE/DEVICE one.
func (s *Scenario) find(what string) (*Vehicle, []Device, error) {
	vehicle, device, one := strings.Cut(what, "/")
	i := slices.IndexFunc(s.World.Vehicles, func(v Vehicle) bool { return v.Name == vehicle })
	if i < 0 {
		return nil, nil, fmt.Errorf("%q is no vehicle of world.vehicles", vehicle)
	}
	v := &s.World.Vehicles[i]
	if !one {
		return v, v.Devices, nil
	}
	k := slices.IndexFunc(v.Devices, func(d Device) bool { return d.Name == device })
	if k < 0 {
		return nil, nil, fmt.Errorf("%q is no device of %s: expected %s", device, vehicle, v.choices())
	}
	return v, v.Devices[k : k+1], nil
}

// choices lists the devices as verbs name them.
func (v *Vehicle) choices() string {
	var list []string
	for _, d := range v.Devices {
		list = append(list, v.Name+"/"+d.Name)
	}
	return strings.Join(list, " or ")
}

// checkVehicle wants a vehicle of this world.
func (s *Scenario) checkVehicle(what string) error {
	v, _, err := s.find(what)
	if err == nil && what != v.Name {
		return fmt.Errorf("%s is one device: expected its vehicle, %s", what, v.Name)
	}
	return err
}

// checkDevice wants one device of this world: VEHICLE/DEVICE, or VEHICLE when it has only one.
func (s *Scenario) checkDevice(what string) error {
	v, devices, err := s.find(what)
	if err == nil && len(devices) > 1 {
		return fmt.Errorf("%s has %d devices: expected %s", what, len(devices), v.choices())
	}
	return err
}

// checkSome wants a vehicle of this world, or one of its devices.
func (s *Scenario) checkSome(what string) error {
	_, _, err := s.find(what)
	return err
}
