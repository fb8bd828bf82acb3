// Package uboot drives the firmware slots of a board that U-Boot starts.
//
// The boot state is one sector of 512 bytes in the form of a U-Boot environment
// (not redundant) with RAUC's variable names: U-Boot imports and exports it,
// fw_printenv and fw_setenv edit it, and so does this package. A device writes a sector as a whole
// or not at all, therefore no second copy is needed; should it be damaged
// nevertheless, its checksum says so, both ends fall back to the same default
// (A, then B; the boot loader's signature check keeps half
// an image from running) and Status reports it. Boot plays what the boot loader does with the state.
//
// A slot is a partition that holds one signed FIT image from its first byte on. The package
// looks neither into the image nor at its signature. Tests and tools use plain files in place of partitions.
package uboot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/slots"
)

// chunk is how much of an image is written at once, in bytes; each is stored before the next.
const chunk = 1 << 20

// Config names the places. All may be block devices or files.
type Config struct {
	State  string                // holds the boot state
	Offset int64                 // of the boot state in State, in bytes
	Images map[slots.Slot]string // one for A, one for B
	Booted slots.Slot            // the slot that runs; "" when unknown
}

// Slots implements slots.Slots.
type Slots struct {
	cfg Config
}

var _ slots.Slots = (*Slots)(nil)

// Open checks the configuration; it reads nothing yet.
func Open(cfg Config) (*Slots, error) {
	if cfg.State == "" || cfg.Images[slots.A] == "" || cfg.Images[slots.B] == "" {
		return nil, errors.New("slots: expected a place for the boot state and for the slots A and B")
	}
	if a, b := cfg.Images[slots.A], cfg.Images[slots.B]; a == b || a == cfg.State || b == cfg.State {
		return nil, errors.New("slots: expected three places, found one twice")
	}
	if cfg.Booted != "" && cfg.Booted.Other() == "" {
		return nil, fmt.Errorf("slots: booted slot %q; expected A or B", cfg.Booted)
	}
	return &Slots{cfg: cfg}, nil
}

// Status implements slots.Slots.
func (s *Slots) Status() (slots.Status, error) {
	f, err := s.lock(os.O_RDONLY)
	if err != nil {
		return slots.Status{}, err
	}
	defer f.Close()
	current, problem, err := s.read(f)
	if err != nil {
		return slots.Status{}, err
	}
	return s.status(current, problem), nil
}

// status is the boot state as seen by the slot that runs.
func (s *Slots) status(current *state, problem string) slots.Status {
	return slots.Status{
		Booted: s.cfg.Booted, Order: current.order, Left: current.left, OnTrial: current.trial,
		Trial: s.cfg.Booted != "" && current.trial == s.cfg.Booted, Problem: problem,
	}
}

// Confirm implements slots.Slots.
func (s *Slots) Confirm() error {
	if s.cfg.Booted == "" {
		return slots.ErrBooted
	}
	return s.change(func(current *state) error {
		current.first(s.cfg.Booted)
		if current.trial == s.cfg.Booted {
			current.trial = ""
		}
		return nil
	})
}

// Prefer implements slots.Slots.
func (s *Slots) Prefer(slot slots.Slot) error {
	if s.cfg.Booted == "" || slot.Other() == "" {
		return slots.ErrBooted
	}
	return s.change(func(current *state) error {
		if current.trial != "" && (current.trial == slot || current.trial == s.cfg.Booted) {
			return fmt.Errorf("slot %s: %w", slot, slots.ErrTrial)
		}
		current.first(s.cfg.Booted)
		current.first(slot)
		return nil
	})
}

// Rollback implements slots.Slots.
func (s *Slots) Rollback() error {
	other := s.cfg.Booted.Other()
	if other == "" {
		return slots.ErrBooted
	}
	return s.change(func(current *state) error {
		if !s.status(current, "").Bootable(other) {
			return fmt.Errorf("slot %s: %w", other, slots.ErrUnbootable)
		}
		current.first(other)
		current.trial = ""
		return nil
	})
}

// Install implements slots.Slots.
func (s *Slots) Install(ctx context.Context, image io.Reader, size int64) error {
	target := s.cfg.Booted.Other()
	if target == "" {
		return slots.ErrBooted
	}
	f, err := os.OpenFile(s.cfg.Images[target], os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("slot %s: %w", target, plain(err))
	}
	defer f.Close()
	if err := alone(f); err != nil {
		return fmt.Errorf("slot %s: %w", target, err)
	}
	room, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("slot %s: %w", target, plain(err))
	}
	if size <= 0 || size > room {
		return fmt.Errorf("slot %s: %w: %d bytes; expected 1 to %d", target, slots.ErrSize, size, room)
	}
	if err := s.change(func(current *state) error {
		if current.trial == s.cfg.Booted {
			return fmt.Errorf("slot %s: %w", target, slots.ErrTrial)
		}
		current.disable(target)
		current.first(s.cfg.Booted) // its last try may be the one that runs
		current.trial = ""
		return nil
	}); err != nil {
		return err
	}
	sum, err := write(ctx, f, image, size)
	if err != nil {
		return fmt.Errorf("slot %s: %w", target, err)
	}
	if err := verify(ctx, f, sum, size); err != nil {
		return fmt.Errorf("slot %s: %w", target, err)
	}
	return s.change(func(current *state) error {
		current.first(target)
		current.trial = target
		return nil
	})
}

// write stores the image and gives the digest of what it read.
func write(ctx context.Context, f *os.File, image io.Reader, size int64) (sum [sha256.Size]byte, err error) {
	digest := sha256.New()
	buf := make([]byte, chunk)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		part := buf[:min(chunk, size-at)]
		n, err := io.ReadFull(image, part)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return sum, fmt.Errorf("%w: ends after %d bytes; expected %d", slots.ErrSize, at+int64(n), size)
		}
		if err != nil {
			return sum, fmt.Errorf("read the image: %w", err)
		}
		digest.Write(part)
		if _, err := f.WriteAt(part, at); err != nil {
			return sum, fmt.Errorf("write: %w", plain(err))
		}
		if err := f.Sync(); err != nil {
			return sum, fmt.Errorf("write: %w", plain(err))
		}
		at += int64(n)
	}
	if n, err := image.Read(buf[:1]); n > 0 || (err != nil && !errors.Is(err, io.EOF)) {
		return sum, fmt.Errorf("%w: goes on after %d bytes", slots.ErrSize, size)
	}
	return [sha256.Size]byte(digest.Sum(nil)), nil
}

// verify reads the image back, from the device and not from the page cache.
func verify(ctx context.Context, f *os.File, want [sha256.Size]byte, size int64) error {
	if err := dropCache(f, size); err != nil {
		return err
	}
	digest := sha256.New()
	buf := make([]byte, chunk)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(chunk, size-at)]
		if _, err := f.ReadAt(part, at); err != nil {
			return fmt.Errorf("read back: %w", plain(err))
		}
		digest.Write(part)
		at += int64(len(part))
	}
	if [sha256.Size]byte(digest.Sum(nil)) != want {
		return slots.ErrReadBack
	}
	return nil
}
