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

// GiveToAgent makes a user the owner of all that the agent reads and writes as itself: its folder data, and the identity. It is called while
// no agent runs. Files that root wrote, as a firmware of an earlier release does, change their owner at the next start of this one; root can
// read them all, so that such a firmware goes on where this one ended. All is tried; the error names what could not be given.
// alive is called again and again while it works: a large folder takes long.
func GiveToAgent(data string, user int, alive func()) error {
	g := giver{user: user, alive: alive, chown: os.Lchown}
	return errors.Join(os.MkdirAll(data, 0o700), g.tree(data), g.tree(IdentityDir))
}

// GiveDevices makes a user the owner of the devices that are there, of these patterns.
func GiveDevices(patterns []string, user int) error {
	var errs []error
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, device := range found {
			errs = append(errs, os.Chown(device, user, user))
		}
	}
	return errors.Join(errs...)
}

// Slots are the device's firmware slots. They stay root's.
func Slots() (*uboot.Slots, error) {
	cfg, err := uboot.Find("/")
	if err != nil {
		return nil, err
	}
	return uboot.Open(cfg)
}

const (
	// aliveEvery is after how many files alive is called: some milliseconds of work, however slow the disk is.
	aliveEvery = 256
	// maxNamed bounds the files that an error names.
	maxNamed = 3
)

// giver gives folders to a user and its group.
type giver struct {
	user  int
	alive func()
	chown func(path string, uid, gid int) error

	seen   int
	failed int
	errs   []error // the first ones
}

// tree gives a folder and all below it. Links are given themselves, never what they point to. What has the owner already is left alone,
// and what cannot be given is passed over. A folder that is not there is no error.
func (g *giver) tree(dir string) error {
	g.failed, g.errs = 0, nil
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if g.seen++; g.seen%aliveEvery == 0 {
			g.alive()
		}
		if err == nil {
			err = g.give(path, entry)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			if g.failed++; g.failed <= maxNamed {
				g.errs = append(g.errs, err)
			}
		}
		return nil
	})
	if err = errors.Join(append(g.errs, err)...); err != nil {
		return fmt.Errorf("owner of the agent's files: %d not given: %w", g.failed, err)
	}
	return nil
}

// give gives one file.
func (g *giver) give(path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid == uint32(g.user) && is.Gid == uint32(g.user) {
		return nil
	}
	return g.chown(path, g.user, g.user)
}
