package update

import (
	"context"
	"errors"
	"fmt"
	"os"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// begin says which slot is going to be written.
func (u *Updater) begin() error {
	st, err := u.cfg.Slots.Status()
	switch {
	case err != nil:
		return err
	case st.Booted == "":
		return u.fail(reasons.SlotFailed, slots.ErrBooted)
	}
	return u.move(func(j *journal) {
		j.State, j.From, j.To = updates.Installing, st.Booted, st.Booted.Other()
	})
}

// install writes the payload into the slot. The file is verified while it is
// read once more: what the disk made of it meanwhile never becomes a slot that is started.
func (u *Updater) install(ctx context.Context) error {
	if u.j.Installs >= maxInstalls {
		return u.fail(reasons.SlotFailed, fmt.Errorf("begun %d times and never ended", u.j.Installs))
	}
	next := u.j
	next.Installs++
	if err := u.keep(next); err != nil {
		return err
	}
	file, err := os.Open(u.partial())
	if err != nil {
		return u.fail(reasons.Corrupt, durable.Plain(err))
	}
	defer file.Close()
	opened, err := firmware.Open(file, u.policy())
	if err != nil {
		return u.fail(reasonOf(err), err)
	}
	header, err := opened.Header.Bytes()
	if err != nil {
		return u.fail(reasons.NotUpdate, err)
	}
	err = u.cfg.Slots.Install(ctx, slots.SignedImage{Reader: opened.Payload(), Header: header}, opened.Header.Manifest.Size)
	switch {
	case ctx.Err() != nil: // it was ended on purpose, which says nothing about the update
		next.Installs--
		return errors.Join(ctx.Err(), u.keep(next))
	case errors.Is(err, slots.ErrTrial):
		return u.fail(reasons.OnTrial, err)
	case errors.Is(err, firmware.ErrCorrupt), errors.Is(err, firmware.ErrTruncated):
		return u.fail(reasons.Corrupt, err)
	case reasonOf(err) != reasons.Internal: // whoever owns the slots has judged otherwise
		return u.fail(reasonOf(err), err)
	case err != nil:
		return u.fail(reasons.SlotFailed, err)
	}
	if err := u.move(func(j *journal) {
		j.State, j.Restarts = updates.Rebooting, 1
	}); err != nil {
		return err
	}
	return ErrRestart
}

// policy is what is accepted of the update at hand. When an older firmware than the
// confirmed one runs, the confirmed one's release counts.
func (u *Updater) policy() firmware.Policy {
	return firmware.Policy{
		Keys: u.cfg.Keys, Board: u.cfg.Running.Board, Release: max(u.cfg.Running.Release, u.confirmed.Release), AllowDowngrade: u.j.Document.AllowDowngrade,
	}
}

// reasonOf says in the words of the protocol why an update file is refused.
func reasonOf(err error) reasons.Reason {
	for _, known := range []struct {
		err    error
		reason reasons.Reason
	}{
		{firmware.ErrNotUpdate, reasons.NotUpdate},
		{signed.ErrWrongKey, reasons.WrongKey},
		{signed.ErrSignature, reasons.Signature},
		{firmware.ErrWrongBoard, reasons.WrongBoard},
		{firmware.ErrOlder, reasons.Older},
		{firmware.ErrTruncated, reasons.Truncated},
		{firmware.ErrCorrupt, reasons.Corrupt},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return reasons.Internal
}
