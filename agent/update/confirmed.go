package update

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// confirmed is what this device remembers of the firmware that it confirmed last. It says which slot should
// run when the boot state is lost, and which release is the oldest that may follow.
type confirmed struct {
	Layout  int        `cbor:"v"`
	Slot    slots.Slot `cbor:"slot"`
	Version string     `cbor:"version,omitempty"` // empty: unknown
	Release uint64     `cbor:"release,omitempty"` // the newest so far, but for an update that was allowed to be older; zero: unknown
	Update  updates.ID `cbor:"update,omitempty"`  // which brought it; empty: none, or unknown
}

const (
	confirmedLayout = 1
	confirmedFile   = "confirmed.cbor"
)

// loadConfirmed reads what is remembered. What is missing or damaged is nothing: the boot state
// says it again at the next start.
func loadConfirmed(dir string) (c confirmed, err error) {
	f, err := os.Open(filepath.Join(dir, confirmedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return confirmed{}, nil
	}
	if err != nil {
		return confirmed{}, durable.Plain(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return confirmed{}, durable.Plain(err)
	}
	if err := document.Unmarshal(data, &c); err != nil {
		return confirmed{}, err
	}
	if c.Layout != confirmedLayout || c.Slot.Other() == "" {
		return confirmed{}, fmt.Errorf("version %d and slot %.16q: %w", c.Layout, c.Slot, errDamaged)
	}
	return c, nil
}

// remember notes that slot is the confirmed one while booted runs. A device that cannot
// store it works on all the same.
func (u *Updater) remember(slot, booted slots.Slot) {
	c := u.confirmed
	brought := u.j.State == updates.Confirmed && u.j.To == slot
	if slot == booted {
		release := u.cfg.Running.Release
		if older := brought && u.j.Document.AllowDowngrade; !older {
			release = max(release, c.Release)
		}
		same := c.Slot == slot && (c.Version == "" || c.Version == u.cfg.Running.Version && c.Release == release)
		if !same {
			c.Update = ""
		}
		c.Version, c.Release = u.cfg.Running.Version, release
	} else if c.Slot != slot {
		c = confirmed{Release: c.Release}
	}
	c.Layout, c.Slot = confirmedLayout, slot
	if brought {
		c.Update = u.j.Document.ID
	}
	if c == u.confirmed {
		return
	}
	data, err := document.Marshal(c)
	if err == nil {
		err = u.write(filepath.Join(u.cfg.Dir, confirmedFile), data)
	}
	if err != nil {
		u.cfg.Log.Error("confirmed firmware is not noted", "error", err)
		return
	}
	u.confirmed = c
}

// shouldRun is the slot that was confirmed last: by the boot state, or when that is lost by what
// this device remembers; "" when neither knows.
func (u *Updater) shouldRun(st slots.Status) slots.Slot {
	switch {
	case st.Problem == "":
		return st.Confirmed()
	case u.confirmed.Slot != "":
		return u.confirmed.Slot
	case u.j.State == updates.Confirmed:
		return u.j.To
	}
	return u.j.From
}

// compare holds what runs against what was confirmed, when no update is about to change it. A slot that the
// boot loader had to start in place of the confirmed one is never confirmed by itself: it may hold
// an older release. The vehicle says so, and says when the confirmed one runs again.
func (u *Updater) compare(st slots.Status) error {
	should := u.shouldRun(st)
	if should == "" || st.Booted == "" || st.Trial {
		return nil
	}
	u.remember(should, st.Booted)
	ours := u.j.To == should && u.confirmed.Update != "" && u.confirmed.Update == u.j.Document.ID
	if st.Booted == should {
		if ours && u.j.State == updates.RolledBack {
			return u.move(func(j *journal) { j.State, j.Reason, j.Detail = updates.Confirmed, "", "" })
		}
		return nil
	}
	detail := fmt.Sprintf("slot %s is confirmed; the boot loader started slot %s instead", should, st.Booted)
	if st.Problem != "" {
		detail += "; " + st.Problem
	}
	u.cfg.Log.Error("another firmware than the confirmed one runs", "confirmed", should, "runs", st.Booted, "problem", st.Problem)
	if ours && u.j.State == updates.Confirmed {
		return u.move(func(j *journal) {
			j.State, j.Reason, j.Detail = updates.RolledBack, reasons.BootFailed, shorten(detail)
		})
	}
	return nil
}

// keepTries lets the confirmed slot be the first, and gives it and the one that runs their tries back,
// unless another one is to be started next. Boot loaders of before count the starts of every
// slot. A boot state that was lost is written anew; when nobody knows which slot was confirmed, what runs is good.
func (u *Updater) keepTries(st slots.Status) error {
	should := u.shouldRun(st)
	switch {
	case st.Booted == "" || st.Trial || st.OnTrial != "" && st.Next() == st.OnTrial:
		return nil
	case should == "":
		should = st.Booted
	}
	if st.Problem == "" && st.Order[0] == should && st.Left[should] == slots.Tries && st.Left[st.Booted] == slots.Tries {
		return nil
	}
	if err := u.cfg.Slots.Prefer(should); err != nil {
		u.cfg.Log.Error("running slot does not get its tries back", "error", err)
	}
	return nil
}
