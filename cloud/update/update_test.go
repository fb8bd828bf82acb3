package update_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"telltale.dev/cloud/update"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/updates"
)

func TestGoodUpdate(t *testing.T) {
	b := newBench(t)
	u := b.open()
	e := b.begun(u)
	if doc := b.last(); e.State != updates.Pending || doc.ID != e.ID || doc.Device != "tcu" || doc.Revision != e.Revision || doc.Cancel {
		t.Errorf("got %+v and %+v", e, doc)
	}
	if _, err := u.Start(t.Context(), update.Request{Vehicle: "car", File: e.File.Hash}); !errors.Is(err, update.ErrUnderWay) {
		t.Errorf("got %v", err)
	}
	for i, s := range []updates.State{
		updates.Delivered, updates.Downloading, updates.Verified, updates.Installing, updates.Rebooting,
	} {
		if got := b.say(u, e.ID, uint64(i+1), s, 10); got.State != s || got.Deadline == 0 {
			t.Errorf("got %+v, want %s", got, s)
		}
		if m, ok := u.Document("car"); !ok || len(m.Payload) == 0 {
			t.Error("the document is gone before the end")
		}
		u = b.open() // a restart of the cloud
	}
	if got := b.say(u, e.ID, 3, updates.Failed, 0); got.State != updates.Rebooting {
		t.Errorf("an old word changed the state to %s", got.State)
	}
	if got := b.say(u, e.ID, 9, updates.Downloading, 0); got.State != updates.Rebooting {
		t.Errorf("the state went back to %s", got.State)
	}
	got := b.say(u, e.ID, 10, updates.Confirmed, 0)
	if got.State != updates.Confirmed || got.Deadline != 0 || len(got.Steps) != 7 || got.Late {
		t.Errorf("got %+v", got)
	}
	if _, ok := u.Document("car"); ok {
		t.Error("the document is still there after the end")
	}
	if got := b.say(u, e.ID, 11, updates.Failed, 0); got.State != updates.Confirmed {
		t.Errorf("an end was left for %s", got.State)
	}
	for i, s := range []updates.State{updates.RolledBack, updates.Confirmed} { // the slot could not be read for a while
		if got := b.say(u, e.ID, uint64(12+i), s, 0); got.State != s || !got.State.Ended() || got.Deadline != 0 {
			t.Errorf("got %+v, want %s", got, s)
		}
	}
	_, devices := u.Status("car")
	if d := devices["tcu"]; d.Running.Slot != "A" || d.At == 0 {
		t.Errorf("got %+v", devices)
	}
	b.later(-time.Hour) // a clock that was set back: the revision rises all the same
	if next := b.begun(u); next.Revision <= e.Revision || next.ID == e.ID {
		t.Errorf("got revision %d after %d", next.Revision, e.Revision)
	}
}

func TestTimeOuts(t *testing.T) {
	states := []updates.State{
		updates.Pending, updates.Delivered, updates.Downloading, updates.Verified, updates.Installing, updates.Rebooting,
	}
	for i, s := range states {
		t.Run(string(s), func(t *testing.T) {
			b := newBench(t)
			u := b.open()
			e := b.begun(u)
			for seq := 1; seq <= i; seq++ {
				b.say(u, e.ID, uint64(seq), states[seq], 0)
			}
			limit := updates.Deadlines()[s]
			b.later(limit - time.Minute)
			runShortly(t, u)
			if got, _ := u.Status("car"); got.State != s {
				t.Fatalf("got %s before its time was over", got.State)
			}
			b.later(2 * time.Minute)
			u = b.open()
			b.later(time.Minute) // beyond the grace after a start
			runShortly(t, u)
			got, _ := u.Status("car")
			if got.State != updates.TimedOut || got.TimedOutIn != s || got.Deadline != 0 {
				t.Fatalf("got %+v", got)
			}
			if doc := b.last(); !doc.Cancel || doc.Revision <= e.Revision {
				t.Errorf("got %+v: the device is not asked to drop it", doc)
			}
			// What the vehicle says afterwards is the truth.
			late := b.say(u, e.ID, 100, updates.Confirmed, 0)
			if late.State != updates.Confirmed || !late.Late || late.TimedOutIn != s {
				t.Errorf("got %+v", late)
			}
		})
	}
}

// runShortly lets the time-outs work once.
func runShortly(t *testing.T, u *update.Updates) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := u.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestProgressPutsTheTimeOff(t *testing.T) {
	b := newBench(t)
	u := b.open()
	e := b.begun(u)
	first := b.say(u, e.ID, 1, updates.Downloading, 10)
	b.later(time.Hour)
	same := b.say(u, e.ID, 2, updates.Downloading, 10)
	if same.Deadline != first.Deadline {
		t.Error("a word without progress put the time off")
	}
	if more := b.say(u, e.ID, 3, updates.Downloading, 20); more.Deadline != first.Deadline+time.Hour.Milliseconds() || more.Bytes != 20 {
		t.Errorf("got %+v", more)
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t)
	u := b.open()
	if _, err := u.Cancel(t.Context(), "car"); !errors.Is(err, update.ErrNone) {
		t.Errorf("got %v", err)
	}
	if _, err := u.Cancel(t.Context(), "nobody"); !errors.Is(err, update.ErrUnknownVehicle) {
		t.Errorf("got %v", err)
	}
	e := b.begun(u)
	// Not answered yet: it ends at once, and the vehicle may know better.
	gone, err := u.Cancel(t.Context(), "car")
	if err != nil || gone.State != updates.Canceled || !b.last().Cancel {
		t.Errorf("got %+v, %v", gone, err)
	}
	if late := b.say(u, e.ID, 5, updates.Installing, 0); late.State != updates.Installing || !late.Late {
		t.Errorf("got %+v", late)
	}
	if end := b.say(u, e.ID, 6, updates.Confirmed, 0); end.State != updates.Confirmed {
		t.Errorf("got %+v", end)
	}
	// Under way: the vehicle answers.
	e = b.begun(u)
	b.say(u, e.ID, 1, updates.Downloading, 0)
	asked, err := u.Cancel(t.Context(), "car")
	if err != nil || asked.State != updates.Downloading || !asked.Canceling || !b.last().Cancel {
		t.Errorf("got %+v, %v", asked, err)
	}
	if end := b.say(u, e.ID, 2, updates.Canceled, 0); end.State != updates.Canceled || end.Canceling || end.Late {
		t.Errorf("got %+v", end)
	}
}

func TestStartRefuses(t *testing.T) {
	b := newBench(t)
	u := b.open()
	e := b.begun(u)
	for name, c := range map[string]struct {
		request update.Request
		want    error
	}{
		"vehicle":  {update.Request{Vehicle: "nobody", File: e.File.Hash}, update.ErrUnknownVehicle},
		"device":   {update.Request{Vehicle: "car", Device: "other", File: e.File.Hash}, update.ErrUnknownVehicle},
		"which":    {update.Request{Vehicle: "bus", File: e.File.Hash}, update.ErrWhichDevice},
		"file":     {update.Request{Vehicle: "bus", Device: "ivi"}, update.ErrUnknownFile},
		"state":    {update.Request{Vehicle: "bus", Deadlines: map[updates.State]time.Duration{"CONFIRMED": time.Hour}}, update.ErrRequest},
		"deadline": {update.Request{Vehicle: "bus", Deadlines: map[updates.State]time.Duration{"PENDING": time.Millisecond}}, update.ErrRequest},
		"health":   {update.Request{Vehicle: "bus", Health: -1}, update.ErrRequest},
	} {
		if _, err := u.Start(t.Context(), c.request); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := u.Start(t.Context(), update.Request{Vehicle: "bus", Device: "ivi", File: e.File.Hash}); err != nil {
		t.Error(err)
	}
	if got := u.Executions(); len(got) != 2 || got[0].Vehicle != "bus" || got[1].Vehicle != "car" {
		t.Errorf("got %+v", got)
	}
}

// TestDiskRefuses: nothing is told, or believed, that is not on disk.
func TestDiskRefuses(t *testing.T) {
	b := newBench(t)
	u := b.open()
	e := b.begun(u)
	b.refuse = true
	n := len(b.delivered)
	if err := u.Report(t.Context(), "car", updates.Feedback{Version: 1, Device: "tcu", Update: e.ID, State: updates.Confirmed, Sequence: 1}); err == nil {
		t.Error("a word was taken that is not on disk")
	}
	if _, err := u.Cancel(t.Context(), "car"); err == nil || len(b.delivered) != n {
		t.Errorf("got %v and %d documents", err, len(b.delivered)-n)
	}
	if got, _ := u.Status("car"); got.State != updates.Pending {
		t.Errorf("got %+v", got)
	}
}

// TestLostDisk: a vehicle that lost its data starts over, above the sequence that the cloud has seen.
func TestLostDisk(t *testing.T) {
	b := newBench(t)
	u := b.open()
	e := b.begun(u)
	b.say(u, e.ID, 17, updates.Verified, 0)
	m, ok := u.Document("car")
	if !ok {
		t.Fatal("no document")
	}
	var doc updates.Update
	if err := document.Unmarshal(m.Payload, &doc); err != nil || doc.After != 17 {
		t.Fatalf("got %+v, %v", doc, err)
	}
	if got := b.say(u, e.ID, 18, updates.Delivered, 0); got.State != updates.Delivered {
		t.Errorf("got %+v", got)
	}
}

func TestUnreadableRecord(t *testing.T) {
	b := newBench(t)
	b.entries["car"] = []byte("junk")
	u := b.open()
	if e, _ := u.Status("car"); e != nil {
		t.Errorf("got %+v", e)
	}
	b.begun(u)
}
