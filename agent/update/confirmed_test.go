package update_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent/update"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// releases of the firmware in slot A, and of the update in slot B.
const formerRelease, newRelease = 7, 8

// booted sets the release that runs by the slot that does.
func (b *bench) booted() {
	st, err := b.fake.Status()
	if err != nil {
		b.t.Fatal(err)
	}
	b.release = formerRelease
	if st.Booted == slots.B {
		b.release = newRelease
	}
}

// settled starts the agent and waits for a word that is as wanted.
func (b *bench) settled(what string, ok func(updates.Feedback) bool, docs ...updates.Update) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.booted()
	said := b.count()
	_, done := b.start(ctx, docs...)
	waitFor(b.t, func() bool { return b.count() > said && ok(b.last()) || b.t.Context().Err() != nil })
	cancel()
	if err := <-done; err != nil {
		b.t.Errorf("%s: got %v from Run", what, err)
	}
}

// count is how many words were said.
func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.said)
}

// confirmB brings an update to its confirmed end in slot B.
func (b *bench) confirmB() updates.Update {
	b.t.Helper()
	file, _ := b.file(newRelease, 1000)
	doc := updateDocument("u", 1, file)
	b.installed(doc)
	b.fake.Start()
	b.settled("the update is confirmed", func(f updates.Feedback) bool { return f.State == updates.Confirmed }, doc)
	return doc
}

// installed brings an update to the restart of the machine.
func (b *bench) installed(doc updates.Update) {
	b.t.Helper()
	_, done := b.start(b.t.Context(), doc)
	if err := <-done; !errors.Is(err, update.ErrRestart) {
		b.t.Fatal(err)
	}
}

// TestCutsAtEachStage cuts the power at 0 to 6 starts in a row before the agent is up, at
// each stage of an update. Only a firmware on trial is given up by that, and what runs and
// what is said agree.
func TestCutsAtEachStage(t *testing.T) {
	type end struct {
		slot  slots.Slot
		state updates.State
	}
	for stage, c := range map[string]struct {
		prepare func(*bench) updates.Update
		end     func(cuts int) end
	}{
		"before an update": {func(*bench) updates.Update { return updates.Update{} }, func(int) end { return end{slots.A, ""} }},
		"on trial": {func(b *bench) updates.Update {
			file, _ := b.file(newRelease, 1000)
			doc := updateDocument("u", 1, file)
			b.installed(doc)
			return doc
		}, func(cuts int) end {
			if cuts < slots.Tries {
				return end{slots.B, updates.Confirmed}
			}
			return end{slots.A, updates.RolledBack}
		}},
		"after it was confirmed": {(*bench).confirmB, func(int) end { return end{slots.B, updates.Confirmed} }},
		"confirmed, and both bad for some starts": {func(b *bench) updates.Update {
			doc := b.confirmB()
			b.fake.Spoil(slots.A, true)
			b.fake.Spoil(slots.B, true)
			for range 3 {
				if got := b.fake.Start(); got != "" {
					b.t.Fatalf("slot %s was started", got)
				}
			}
			b.fake.Spoil(slots.A, false)
			b.fake.Spoil(slots.B, false)
			return doc
		}, func(int) end { return end{slots.B, updates.Confirmed} }},
		"confirmed, and it cannot be read": {func(b *bench) updates.Update {
			doc := b.confirmB()
			b.fake.Spoil(slots.B, true)
			return doc
		}, func(int) end { return end{slots.A, updates.RolledBack} }},
	} {
		for cuts := range 7 {
			t.Run(fmt.Sprintf("%s, %d cuts", stage, cuts), func(t *testing.T) {
				b := newBench(t)
				doc := c.prepare(b)
				for range cuts {
					b.fake.Start()
				}
				want := c.end(cuts)
				if got := b.fake.Start(); got != want.slot {
					t.Fatalf("slot %s was started, want %s", got, want.slot)
				}
				var docs []updates.Update
				if doc.ID != "" {
					docs = append(docs, doc)
				}
				b.settled("the stage", func(f updates.Feedback) bool { return f.State == want.state && !f.Running.Trial }, docs...)
				if got := b.last(); got.Running.Slot != string(want.slot) {
					t.Errorf("got %+v, want slot %s", got, want.slot)
				}
			})
		}
	}
}

// TestConfirmedSlotCannotBeRead: what runs instead is said and never becomes what should
// run; once the confirmed firmware can be read again, it runs.
func TestConfirmedSlotCannotBeRead(t *testing.T) {
	b := newBench(t)
	doc := b.confirmB()
	b.fake.Spoil(slots.B, true)
	for range 4 {
		b.fake.Start()
		b.settled("the former slot runs", func(f updates.Feedback) bool {
			return f.State == updates.RolledBack && f.Reason == reasons.BootFailed && f.Running.Slot == "A" && f.Running.Confirmed == "B"
		}, doc)
		if st, err := b.fake.Status(); err != nil || st.Confirmed() != slots.B || !st.Bootable(slots.A) {
			t.Fatalf("got %+v, %v, want B confirmed and A to fall back to", st, err)
		}
	}
	b.fake.Spoil(slots.B, false)
	b.fake.Start()
	b.settled("the confirmed slot runs", func(f updates.Feedback) bool {
		return f.State == updates.Confirmed && f.Running.Slot == "B" && f.Running.Confirmed == ""
	}, doc)
	if got := b.path("u"); got != goodPath+" ROLLED_BACK CONFIRMED" {
		t.Errorf("got %s", got)
	}
}

// TestLostBootStateIsRemembered: the boot loader starts slot A, and the agent knows that B
// was confirmed, by its own note or by the journal of an agent that kept none.
func TestLostBootStateIsRemembered(t *testing.T) {
	for name, forget := range map[string]bool{"by the note": false, "by the journal": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			doc := b.confirmB()
			if forget {
				if err := os.Remove(filepath.Join(b.dir, "confirmed.cbor")); err != nil {
					t.Fatal(err)
				}
			}
			b.fake.LoseState()
			if got := b.fake.Start(); got != slots.A {
				t.Fatalf("slot %s was started", got)
			}
			b.settled("the former slot runs", func(f updates.Feedback) bool {
				return f.State == updates.RolledBack && f.Running.Slot == "A" && f.Running.Confirmed == "B"
			}, doc)
			if st, err := b.fake.Status(); err != nil || st.Problem != "" || st.Confirmed() != slots.B {
				t.Fatalf("got %+v, %v, want B confirmed again", st, err)
			}
			if got := b.fake.Start(); got != slots.B {
				t.Fatalf("slot %s was started", got)
			}
			b.settled("the confirmed slot runs", func(f updates.Feedback) bool { return f.State == updates.Confirmed }, doc)
		})
	}
}

// TestOlderThanConfirmed: while the former firmware runs in place of the confirmed one,
// an update must not be older than the confirmed one.
func TestOlderThanConfirmed(t *testing.T) {
	b := newBench(t)
	b.confirmB()
	b.fake.Spoil(slots.B, true)
	b.fake.Start()
	b.booted()
	between, _ := b.file(formerRelease, 2000)
	if last := b.await(updateDocument("u2", 2, between)); last.State != updates.Failed || last.Reason != reasons.Older {
		t.Errorf("got %+v, want it refused as older", last)
	}
	again, _ := b.file(newRelease, 3000)
	if last := b.await(updateDocument("u3", 3, again)); last.State != updates.Confirmed || last.Running.Slot != "B" || last.Running.Confirmed != "" {
		t.Errorf("got %+v, want the confirmed release installed again", last)
	}
}

// TestBootLoaderThatCountsEachStart: three cuts made a boot loader of before pass to the
// former slot. The confirmed slot gets its tries back and stays the first.
func TestBootLoaderThatCountsEachStart(t *testing.T) {
	b := newBench(t)
	doc := b.confirmB()
	b.fake.CountEachStart(true)
	for range slots.Tries {
		if got := b.fake.Start(); got != slots.B {
			t.Fatalf("slot %s was started", got)
		}
	}
	if got := b.fake.Start(); got != slots.A {
		t.Fatalf("slot %s was started", got)
	}
	b.settled("the former slot runs", func(f updates.Feedback) bool { return f.State == updates.RolledBack }, doc)
	if got := b.fake.Start(); got != slots.B {
		t.Fatalf("slot %s was started, want the confirmed one", got)
	}
	b.settled("the confirmed slot runs", func(f updates.Feedback) bool { return f.State == updates.Confirmed }, doc)
}
