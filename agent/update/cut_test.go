package update_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/agent/update"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/updates"
)

// moment is when a step is cut.
type moment string

const (
	before moment = "before"
	midway moment = "midway" // what is copied is half there; else like before
	after  moment = "after"
)

// knife ends everything at the n-th step that changes something outside the
// process, before, midway or after the step itself; what comes later has no effect.
type knife struct {
	at    int
	when  moment
	steps atomic.Int64
	cut   context.CancelFunc
	dead  atomic.Bool
}

var errDead = errors.New("the power is off")

func (k *knife) step(do func() error) error {
	if k.dead.Load() {
		return errDead
	}
	if int(k.steps.Add(1)) != k.at {
		return do()
	}
	k.dead.Store(true)
	if k.when == after {
		_ = do()
	}
	k.cut()
	return errDead
}

// knifeSlots are slots whose changes are steps.
type knifeSlots struct {
	slots.Slots
	knife *knife
}

func (s knifeSlots) Install(ctx context.Context, image io.Reader, size int64) error {
	if k := s.knife; k.when == midway && int(k.steps.Load()) == k.at-1 && !k.dead.Load() {
		k.steps.Add(1)
		return s.Slots.Install(context.WithoutCancel(ctx), io.MultiReader(io.LimitReader(image, size/2), &cutReader{k}), size)
	}
	return s.knife.step(func() error { return s.Slots.Install(context.WithoutCancel(ctx), image, size) })
}

// cutReader cuts at its first read.
type cutReader struct{ knife *knife }

func (c *cutReader) Read([]byte) (int, error) {
	c.knife.dead.Store(true)
	c.knife.cut()
	return 0, errDead
}

func (s knifeSlots) Confirm() error  { return s.knife.step(s.Slots.Confirm) }
func (s knifeSlots) Rollback() error { return s.knife.step(s.Slots.Rollback) }

// TestCutAtEveryStep cuts at each write of the journal, each feedback and each
// change of the slots, before, midway and after it, as a power cut and as a kill of the
// agent alone, of an update that ends well and of one that goes back. Whatever
// happens, the end is the one that an undisturbed update has, and each word is true.
func TestCutAtEveryStep(t *testing.T) {
	for n := range 8 {
		healthy, power, owned := n&1 == 0, n&2 == 0, n&4 == 0
		for _, when := range []moment{before, midway, after} {
			t.Run(fmt.Sprintf("healthy=%v power=%v owned=%v %s", healthy, power, owned, when), func(t *testing.T) {
				t.Parallel()
				at := 1
				for ; cutOnce(t, at, when, power, healthy, owned); at++ {
					if at > 100 {
						t.Fatal("it never ends")
					}
				}
				if at < 12 {
					t.Errorf("only %d steps were cut", at-1)
				}
			})
		}
	}
}

// cutOnce runs one update with a cut; false when it ended before the cut. owned slots belong to another process.
func cutOnce(t *testing.T, at int, when moment, power, healthy, owned bool) bool {
	t.Helper()
	b := newBench(t)
	defer b.server.Close()
	b.unsynced = true
	file, payload := b.file(8, 100_000)
	doc := updateDocument("u", 1, file)
	k := &knife{at: at, when: when}
	b.onReport, b.onWrite = k.step, k.step
	var all slots.Slots = b.fake
	if owned {
		b.owned(b.release)
		all = b.slots
	}
	b.slots = knifeSlots{all, k}
	if !healthy {
		b.unhealthy, b.health = errors.New("no bus"), 20*time.Millisecond
	}
	for start := 0; !k.dead.Load(); start++ {
		ctx, cancel := context.WithCancel(t.Context())
		k.cut = cancel
		_, done := b.start(ctx, doc)
		if b.untilCut(done, doc.ID, k) {
			cancel()
			<-done
			return false
		}
		cancel()
		if !k.dead.Load() || power {
			b.fake.Start()
		}
	}
	b.onReport, b.onWrite, b.slots = nil, nil, all
	last := b.await(doc)
	want, slot := updates.Confirmed, slots.B
	if !healthy {
		want, slot = updates.RolledBack, slots.A
	}
	st, err := b.fake.Status()
	if err != nil {
		t.Fatal(err)
	}
	if last.State != want || last.Running.Slot != string(slot) || st.Booted != slot || st.Trial || st.Order[0] != slot || st.Left[slot] != slots.Tries && healthy {
		t.Errorf("cut at step %d: got %+v with %+v", at, last, st)
	}
	if got := b.fake.Content(slots.B); string(got) != string(payload) {
		t.Errorf("cut at step %d: slot B holds %d bytes", at, len(got))
	}
	b.path("u")
	return true
}

// untilCut waits for the end of the update (true), for a restart or for the cut.
func (b *bench) untilCut(done <-chan error, id updates.ID, k *knife) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		select {
		case err := <-done:
			if !k.dead.Load() && !errors.Is(err, update.ErrRestart) {
				b.t.Fatalf("got %v from Run", err)
			}
			return false
		default:
		}
		if last := b.last(); !k.dead.Load() && last.Update == id && last.State.Ended() {
			return true
		}
	}
	b.t.Fatal("it did not end")
	return false
}
