//go:build linux

package partitions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"telltale.dev/hal/slots/uboot"
)

// agentDevices are the devices that an agent may be told to use, as patterns: TPM and GPIO chips.
// The wake alarm and the state of sleep are files of sysfs.
var agentDevices = []string{"/dev/tpmrm*", "/dev/gpiochip*", "/sys/class/rtc/rtc*/wakealarm", "/sys/power/state"}

// GiveToAgent makes a user the owner of all that the agent reads and writes as itself: its folder data, the identity, the
// boot state and the slots, and the devices that are there. It is called while no agent runs. Files that root wrote, as a firmware of
// an earlier release does, change their owner at the next start of this one; root can read them all, so that such
// a firmware goes on where this one ended. All is tried; the error names what could not be given.
func GiveToAgent(data string, user int) error {
	errs := []error{os.MkdirAll(data, 0o700), giveTree(data, user), giveTree(IdentityDir, user)}
	if slots, err := uboot.Find("/"); err != nil {
		errs = append(errs, err)
	} else {
		devices := []string{slots.State}
		for _, device := range slots.Images {
			devices = append(devices, device)
		}
		for _, device := range devices {
			errs = append(errs, os.Chown(device, user, user))
		}
	}
	return errors.Join(append(errs, GiveDevices(user))...)
}

// GiveDevices makes a user the owner of the agent's devices that are there.
func GiveDevices(user int) error {
	var errs []error
	for _, pattern := range agentDevices {
		found, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, device := range found {
			errs = append(errs, os.Chown(device, user, user))
		}
	}
	return errors.Join(errs...)
}

// giveTree makes a user and its group the owner of a folder and of all below it. Links are given themselves, never
// what they point to. What has the owner already is left alone. A folder that is not there is no error.
func giveTree(dir string, user int) error {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid == uint32(user) && is.Gid == uint32(user) {
			return nil
		}
		return os.Lchown(path, user, user)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("owner of the agent's files: %w", err)
	}
	return nil
}
