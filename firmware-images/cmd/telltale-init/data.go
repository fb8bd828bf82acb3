//go:build linux

package main

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
	"telltale.dev/protocol"
)

// dataMount is where the data partition is.
const dataMount = "/data"

// lostNote tells the agent, and whoever looks, that the data partition was lost.
const lostNote = "/run/telltale/data-lost"

// bootFile holds the identifier that the kernel draws at each start.
const bootFile = "/proc/sys/kernel/random/boot_id"

// e2fsck's exit codes are bits; from this one on errors are left (e2fsck(8)).
const fsckLeft = 4

// dataPartition checks and mounts the data partition. One that cannot be
// repaired or mounted is made anew: a vehicle without a buffer is better than none.
func dataPartition(children *reaper, name string) error {
	if err := os.MkdirAll(dataMount, 0o755); err != nil {
		return err
	}
	device, err := partition(name)
	if err != nil {
		return mountTemporary(err)
	}
	lost := clean(device)
	if lost == nil {
		lost = mountExt4(device) // brings its journal up to date
	}
	if lost != nil {
		say("data partition: %v; checking it", lost)
		if lost = check(children, device); lost == nil {
			lost = mountExt4(device)
		}
	}
	if lost == nil {
		return nil
	}
	say("data partition lost: %v; making it anew", lost)
	code, err := children.call("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "data", device)
	if err == nil && code != 0 {
		err = fmt.Errorf("mke2fs: exit code %d", code)
	}
	if err == nil {
		err = mountExt4(device)
	}
	if err != nil {
		return mountTemporary(err)
	}
	say("data partition made anew")
	leaveNote(lostNote, protocol.StorageRecreated, lost)
	return nil
}

// mountTemporary lets the machine go on in memory: what it stores ends with it.
func mountTemporary(why error) error {
	say("data partition: %v; storing in memory only", why)
	if err := unix.Mount("tmpfs", dataMount, "tmpfs", unix.MS_NOSUID, "mode=755,size=64m"); err != nil {
		return err
	}
	leaveNote(lostNote, protocol.StorageMemoryOnly, why)
	return nil
}

// leaveNote tells the agent what was lost and why. The device works without the agent knowing.
func leaveNote(path string, state protocol.StorageState, why error) {
	n := storage.Note{State: state, Reason: why.Error()}
	if id, err := os.ReadFile(bootFile); err == nil {
		n.Boot = strings.TrimSpace(string(id))
	}
	if err := storage.Write(path, n); err != nil {
		say("data partition: the agent is not told: %v", err)
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
func check(children *reaper, device string) error {
	code, err := children.call("/sbin/e2fsck", "-p", device)
	if err != nil {
		return err
	}
	if code&^3 == 0 { // none, or corrected
		return nil
	}
	if code, err = children.call("/sbin/e2fsck", "-y", device); err != nil {
		return err
	}
	if code >= fsckLeft {
		return fmt.Errorf("e2fsck: exit code %d", code)
	}
	say("data partition repaired")
	return nil
}

func mountExt4(device string) error {
	if err := unix.Mount(device, dataMount, "ext4", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// unmountData stores what is cached; what still holds files open is left behind.
func unmountData() {
	markTime()
	if err := unix.Unmount(dataMount, 0); errors.Is(err, unix.EBUSY) {
		_ = unix.Mount("", dataMount, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
}

// partition waits for the partition of that name.
func partition(name string) (device string, err error) {
	for end := time.Now().Add(portWait); ; time.Sleep(2 * time.Millisecond) {
		if device, err = uboot.Partition("/", name); err == nil || time.Now().After(end) {
			return device, err
		}
	}
}
