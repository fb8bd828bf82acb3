//go:build linux

// Package partitions readies the partitions of a device's disk that are not firmware: the data partition, which is
// checked, and made anew when it is lost, and the identity, which is read once.
package partitions

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/slots/uboot"
	"telltale.dev/hal/storage"
	"telltale.dev/protocol/events"
)

// DataMount is where the data partition is.
const DataMount = "/data"

// partitionWait is how long a partition may take to appear.
const partitionWait = 5 * time.Second

// Disk is the device's disk.
type Disk struct {
	// Say prints a line on the console, in the form of fmt.Printf.
	Say func(format string, args ...any)
	// Call runs a program to its end and gives the exit code.
	Call func(args ...string) (int, error)
}

// lostNote tells the agent, and whoever looks, that the data partition was lost.
const lostNote = "/run/telltale/data-lost"

// bootFile holds the identifier that the kernel draws at each start.
const bootFile = "/proc/sys/kernel/random/boot_id"

// e2fsck's exit codes are bits; from this one on errors are left (e2fsck(8)).
const fsckLeft = 4

// MountData checks the partition of that name and mounts it at DataMount. One that cannot be
// repaired or mounted is made anew: a vehicle without a buffer is better than none.
func (d Disk) MountData(name string) error {
	if err := os.MkdirAll(DataMount, 0o755); err != nil {
		return err
	}
	device, err := partition(name)
	if err != nil {
		return d.mountTemporary(err)
	}
	lost := clean(device)
	if lost == nil {
		lost = mountExt4(device) // brings its journal up to date
	}
	if lost != nil {
		d.Say("data partition: %v; checking it", lost)
		if lost = d.check(device); lost == nil {
			lost = mountExt4(device)
		}
	}
	if lost == nil {
		return nil
	}
	d.Say("data partition lost: %v; making it anew", lost)
	code, err := d.Call("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "data", device)
	if err == nil && code != 0 {
		err = fmt.Errorf("mke2fs: exit code %d", code)
	}
	if err == nil {
		err = mountExt4(device)
	}
	if err != nil {
		return d.mountTemporary(err)
	}
	d.Say("data partition made anew")
	d.leaveNote(lostNote, events.StorageRecreated, lost)
	return nil
}

// mountTemporary lets the machine go on in memory: what it stores ends with it.
func (d Disk) mountTemporary(why error) error {
	d.Say("data partition: %v; storing in memory only", why)
	if err := unix.Mount("tmpfs", DataMount, "tmpfs", unix.MS_NOSUID, "mode=755,size=64m"); err != nil {
		return err
	}
	d.leaveNote(lostNote, events.StorageMemoryOnly, why)
	return nil
}

// leaveNote tells the agent what was lost and why. The device works without the agent knowing.
func (d Disk) leaveNote(path string, state events.StorageState, why error) {
	n := storage.Note{State: state, Reason: why.Error()}
	if id, err := os.ReadFile(bootFile); err == nil {
		n.Boot = strings.TrimSpace(string(id))
	}
	if err := storage.Write(path, n); err != nil {
		d.Say("data partition: the agent is not told: %v", err)
	}
}

// The superblock of ext4: where it is, and what of it we look at (kernel,
// Documentation/filesystems/ext4/super.rst).
const (
	superblockAt    = 1024
	superblockSize  = 1024
	superblockMagic = 0xEF53
	withErrors      = 2 // EXT4_ERROR_FS of s_state
)

// clean looks whether the kernel has found errors in the file system. It costs
// nothing; e2fsck, which costs a second, is for those that have some.
func clean(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, superblockSize)
	if _, err := f.ReadAt(block, superblockAt); err != nil {
		return fmt.Errorf("superblock: %w", err)
	}
	if binary.LittleEndian.Uint16(block[56:]) != superblockMagic {
		return errors.New("superblock: expected an ext4 file system")
	}
	if binary.LittleEndian.Uint16(block[58:])&withErrors != 0 {
		return errors.New("the file system has errors")
	}
	return nil
}

// check repairs what can be repaired without asking.
func (d Disk) check(device string) error {
	code, err := d.Call("/sbin/e2fsck", "-p", device)
	if err != nil {
		return err
	}
	if code&^3 == 0 { // none, or corrected
		return nil
	}
	if code, err = d.Call("/sbin/e2fsck", "-y", device); err != nil {
		return err
	}
	if code >= fsckLeft {
		return fmt.Errorf("e2fsck: exit code %d", code)
	}
	d.Say("data partition repaired")
	return nil
}

func mountExt4(device string) error {
	if err := unix.Mount(device, DataMount, "ext4", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// UnmountData stores what is cached; what still holds files open is left behind.
func UnmountData() {
	if err := unix.Unmount(DataMount, 0); errors.Is(err, unix.EBUSY) {
		_ = unix.Mount("", DataMount, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
}

// partition waits for the partition of that name.
func partition(name string) (device string, err error) {
	for end := time.Now().Add(partitionWait); ; time.Sleep(2 * time.Millisecond) {
		if device, err = uboot.Partition("/", name); err == nil || time.Now().After(end) {
			return device, err
		}
	}
}
