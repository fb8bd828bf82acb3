package update

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

// journal is what this device does about an update, and what it has told of it.
type journal struct {
	Version  int            `cbor:"v"`
	Document updates.Update `cbor:"doc"`
	State    updates.State  `cbor:"state"`
	Sequence uint64         `cbor:"seq"` // of the newest feedback
	Reason   reasons.Reason `cbor:"reason,omitempty"`
	Detail   string         `cbor:"detail,omitempty"`
	From     slots.Slot     `cbor:"from,omitempty"` // the slot that ran when the install began
	To       slots.Slot     `cbor:"to,omitempty"`
	Installs int            `cbor:"installs,omitempty"` // begun
	Restarts int            `cbor:"restarts,omitempty"` // asked for without the machine having been restarted
	Starts   int            `cbor:"starts,omitempty"`   // of the agent in the new slot on trial
	// Undo is why the former slot is to run again; empty while the new one may still prove itself.
	Undo       reasons.Reason `cbor:"undo,omitempty"`
	UndoDetail string         `cbor:"undo_detail,omitempty"`
}

const (
	journalVersion = 1
	journalFile    = "journal.cbor"
	// maxJournal bounds what is read from disk, in bytes.
	maxJournal = 64 << 10
)

// active says that there is something to do.
func (j *journal) active() bool { return j.State != "" && !j.State.Ended() }

// switching says that a slot has been written, or is, and what runs is to change.
func (j *journal) switching() bool {
	return j.State == updates.Installing || j.State == updates.Rebooting
}

var errDamaged = errors.New("journal is damaged")

func loadJournal(dir string) (journal, error) {
	data, err := os.ReadFile(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, nil
	}
	if err != nil {
		return journal{}, durable.Plain(err)
	}
	var j journal
	if len(data) > maxJournal {
		return j, fmt.Errorf("%d bytes: %w", len(data), errDamaged)
	}
	if err := document.Unmarshal(data, &j); err != nil {
		return journal{}, fmt.Errorf("%w: %w", err, errDamaged)
	}
	if err := j.Document.Validate(); err != nil || j.Version != journalVersion {
		return journal{}, fmt.Errorf("version %d, %w: %w", j.Version, errors.Join(err), errDamaged)
	}
	return j, nil
}

func setAside(dir string) error {
	name := filepath.Join(dir, journalFile)
	return durable.Plain(os.Rename(name, name+".corrupt"))
}

// write replaces a file in a folder that may not be there yet.
func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return durable.Plain(err)
	}
	return durable.Replace(path, data)
}

// keep puts the journal on disk.
func (u *Updater) keep(j journal) error {
	data, err := document.Marshal(j)
	if err == nil {
		err = u.write(filepath.Join(u.cfg.Dir, journalFile), data)
	}
	if err != nil {
		return fmt.Errorf("update journal: %w", err)
	}
	u.j = j
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = j.Document.ID
	return nil
}

// move changes the journal, on disk before anybody is told. A step that the table does
// not allow is a mistake of this package.
func (u *Updater) move(edit func(*journal)) error {
	next := u.j
	edit(&next)
	if next.State != u.j.State && !u.j.State.Next(next.State) {
		return fmt.Errorf("update cannot go from %s to %s", u.j.State, next.State)
	}
	next.Sequence++
	if err := u.keep(next); err != nil {
		return err
	}
	u.cfg.Log.Info("update", "state", next.State, "reason", next.Reason)
	u.tell()
	return nil
}

// tell puts the newest feedback into the outbox, in order with all others. When the
// buffer refuses, Run tells it again.
func (u *Updater) tell() {
	f := updates.Feedback{
		Version: 1, Device: u.cfg.Device, Running: u.running(), At: time.Now().UnixMilli(), Booted: !u.told,
	}
	if j := &u.j; j.State.Vehicle() {
		f.Update, f.State, f.Sequence, f.Reason, f.Detail = j.Document.ID, j.State, j.Sequence, j.Reason, j.Detail
		f.Bytes = u.have()
	}
	err := u.cfg.Outbox.Put(topics.Topic{Kind: topics.UpdateFeedback}, f)
	if err != nil {
		u.cfg.Log.Error("update feedback is not stored yet", "error", err)
	}
	u.untold = err != nil
	u.told = u.told || err == nil
}

// running is what runs, as far as the slots say.
func (u *Updater) running() updates.Running {
	r := u.cfg.Running
	if u.cfg.Slots == nil {
		return r
	}
	if st, err := u.cfg.Slots.Status(); err == nil {
		r.Slot, r.Trial = string(st.Booted), st.Trial
		if should := u.shouldRun(st); should != st.Booted && st.Booted != "" && !st.Trial {
			r.Confirmed = string(should)
		}
	}
	return r
}

// maxDetail is the longest text for a person, in bytes.
const maxDetail = 300

func shorten(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")
}
