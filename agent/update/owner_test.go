package update_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// owned gives the bench slots that another process owns, which takes no release below that one.
func (b *bench) owned(release uint64) {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "slots") // the path of a socket must be short
	if err != nil {
		b.t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.t.Fatal(err)
	}
	o := &slots.Owner{
		Slots: b.fake, Policy: firmware.Policy{Keys: b.keys, Board: board, Release: release}, Note: filepath.Join(dir, "note"), Say: b.t.Logf,
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Serve(ctx, l) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	b.slots = slots.NewRemote(socket)
}

// TestOwnedSlots: an update goes its whole way through the owner of the slots. What that refuses is told with its reason, though the cloud
// has allowed it, and so it is with an update that does not prove itself: the former firmware runs again.
func TestOwnedSlots(t *testing.T) {
	b := newBench(t)
	b.owned(b.release)
	older, _ := b.file(b.release-1, 1000)
	down := updateDocument("down", 1, older)
	down.AllowDowngrade = true
	if last := b.await(down); last.State != updates.Failed || last.Reason != reasons.Older || last.Detail == "" {
		t.Errorf("an older release: got %+v, want OLDER_RELEASE", last)
	}
	file, payload := b.file(b.release+1, 3<<20)
	if last := b.await(updateDocument("good", 2, file)); last.State != updates.Confirmed || last.Running.Slot != "B" {
		t.Errorf("a good one: got %+v", last)
	}
	if got := b.path("good"); got != goodPath {
		t.Errorf("got %s", got)
	}
	if !bytes.Equal(b.fake.Content(slots.B), payload) {
		t.Error("slot B does not hold the payload")
	}
	b.fake.Spoil(slots.A, false)
	next, _ := b.file(b.release+2, 1000)
	b.offline, b.health = true, 1
	if last := b.await(updateDocument("lonely", 3, next)); last.State != updates.RolledBack || last.Reason != reasons.NotConnected || last.Running.Slot != "B" {
		t.Errorf("one that does not prove itself: got %+v", last)
	}
}
