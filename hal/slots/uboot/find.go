package uboot

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telltale.dev/hal/slots"
)

// Names of the partitions in the GPT, as firmware-images makes them.
const (
	StatePartition = "boot-state"
	SlotAPartition = "slot-a"
	SlotBPartition = "slot-b"
)

// bootedParameter is what the boot loader tells the kernel: telltale.slot=A.
const bootedParameter = "telltale.slot="

// Find looks for the partitions by their names and for the slot that runs on
// the kernel's command line. root is the root of the file system: "/" but in tests.
func Find(root string) (Config, error) {
	named, err := partitions(root)
	if err != nil {
		return Config{}, err
	}
	devices := map[string]string{}
	for _, name := range []string{StatePartition, SlotAPartition, SlotBPartition} {
		if devices[name], err = only(named, name); err != nil {
			return Config{}, fmt.Errorf("slots: %w; expected %s, %s and %s", err, StatePartition, SlotAPartition, SlotBPartition)
		}
	}
	line, err := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return Config{}, fmt.Errorf("slots: kernel command line: %w", plain(err))
	}
	at := func(name string) string { return filepath.Join(root, "dev", devices[name]) }
	return Config{
		State:  at(StatePartition),
		Images: map[slots.Slot]string{slots.A: at(SlotAPartition), slots.B: at(SlotBPartition)},
		Booted: booted(string(line)),
	}, nil
}

// Partition gives the device of the only partition of that name, below the root of the file system.
func Partition(root, name string) (string, error) {
	named, err := partitions(root)
	if err != nil {
		return "", err
	}
	device, err := only(named, name)
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "dev", device), nil
}

// only gives the device of a partition name that stands once.
func only(named map[string][]string, name string) (string, error) {
	switch devices := named[name]; len(devices) {
	case 0:
		return "", fmt.Errorf("no partition is named %s", name)
	case 1:
		return devices[0], nil
	default:
		return "", fmt.Errorf("several partitions are named %s: %s", name, strings.Join(devices, ", "))
	}
}

// booted reads the slot from the kernel's command line.
func booted(line string) slots.Slot {
	for _, word := range strings.Fields(line) {
		if value, ok := strings.CutPrefix(word, bootedParameter); ok && slots.Slot(value).Other() != "" {
			return slots.Slot(value)
		}
	}
	return ""
}

// partitions gives the devices of each partition name.
func partitions(root string) (map[string][]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "sys/class/block/*/uevent"))
	if err != nil {
		return nil, err
	}
	named := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a device that has just gone
		}
		var name, device string
		for _, line := range strings.Split(string(text), "\n") {
			if v, ok := strings.CutPrefix(line, "PARTNAME="); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "DEVNAME="); ok {
				device = v
			}
		}
		if name != "" && device != "" {
			named[name] = append(named[name], device)
			slices.Sort(named[name])
		}
	}
	return named, nil
}
