package buffer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// driven is a vehicle on a small disk: an open batch that is checkpointed while it grows, then appended, as
// the agent does it, with a status now and then.
type driven struct {
	*smallDisk
	op       int  // file operations so far
	takeAt   int  // before or after which somebody else takes all that is free; 0: never
	done     bool // after it
	taken    bool
	greedy   bool // and from then on after each one
	examines bool // the directory is looked at after each operation as a crash would leave it
	looked   int
	inside   bool
	begun    map[protocol.Priority]uint64 // sequences of batches that were not appended yet
}

func newDriven(t *testing.T, size int64) *driven {
	t.Helper()
	d := &driven{smallDisk: newSmallDisk(t, size), begun: map[protocol.Priority]uint64{}}
	d.start()
	return d
}

func (d *driven) start() {
	d.Helper()
	b, err := buffer.OpenFaulty(d.config, func(_ string, done bool) error {
		d.step(done)
		return nil
	})
	must(d.T, err)
	d.Cleanup(func() { _ = b.Close() })
	d.b = b
}

func (d *driven) step(done bool) {
	if d.inside {
		return
	}
	if !done {
		d.op++
	}
	if d.takeAt > 0 && (d.op == d.takeAt && done == d.done || d.taken && d.greedy) {
		d.taken = true
		d.fill(0)
	}
	if d.examines && d.taken {
		d.looked++
		d.inside = true
		b := open(d.T, buffer.Config{Dir: copyDir(d.T, d.config.Dir), MaxBytes: d.config.MaxBytes})
		d.addUpOf(b)
		if boots := b.Boots(); len(boots) != 1 || boots[0].NextSeq < d.seq+1 {
			d.Errorf("operation %d: the accounts say %+v, want one boot with at least sequence %d", d.op, boots, d.seq+1)
		}
		must(d.T, b.Close())
		d.inside = false
	}
}

// batch fills an open batch in steps and appends it. The error is that of a commit that found no room in three tries.
func (d *driven) batch(class protocol.Priority, bytes int) error {
	seq := d.begun[class]
	if seq == 0 {
		seq = d.seq + 1
	}
	commit := func(appends, checkpoints []buffer.Record) (err error) {
		for range 3 {
			if err = d.b.Commit(appends, checkpoints, progress(max(seq, d.seq))); !errors.Is(err, buffer.ErrFull) {
				must(d.T, err)
				d.seq = max(seq, d.seq)
				return nil
			}
		}
		return err
	}
	for portion := 1; portion < 4; portion++ {
		if err := commit(nil, []buffer.Record{record(class, seq, bytes*portion/4)}); err != nil {
			return err
		}
		d.begun[class] = seq
	}
	r := record(class, seq, bytes)
	if len(d.b.PendingEvicted()) > 0 && seq%3 == 0 {
		r.Evicted = d.b.PendingEvicted()
	}
	err := commit([]buffer.Record{r}, nil)
	if err == nil {
		delete(d.begun, class)
	}
	return err
}

// goOn hands over what waits after each batch, and fails when the buffer stands still.
func (d *driven) goOn(batches int) {
	d.Helper()
	for range batches {
		if err := d.batch(protocol.CS1, 7000); err != nil {
			d.Fatalf("all is acknowledged, and sequence %d finds no room: %v", d.seq+1, err)
		}
		d.ackAll()
	}
}

// TestTakenAtEachStep lets somebody else take the whole disk before and after each file operation of a
// drive through a tunnel and of the handing over after it. Whatever the moment was, once all is acknowledged the
// buffer goes on in the room that it has, and what was committed is there, declared or acknowledged.
func TestTakenAtEachStep(t *testing.T) {
	if testing.Short() {
		t.Skip("tries every step in turn, which is slow under the race detector; other tests of the package run side by side")
	}
	for at := 1; ; at += 1 + at/8 {
		reached := false
		for _, done := range []bool{false, true} {
			for _, greedy := range []bool{false, true} {
				t.Run(fmt.Sprintf("operation %d done %v greedy %v", at, done, greedy), func(t *testing.T) {
					d := newDriven(t, 640<<10)
					d.op, d.takeAt, d.done, d.greedy = 0, at, done, greedy
					for range 70 { // no link: it is refused or evicts when the disk is taken early
						_ = d.batch(protocol.CS1, 7000)
						_ = d.batch(protocol.CS4, 100)
					}
					d.ackAll()
					d.goOn(3)
					reached = reached || d.taken
					if !d.taken {
						return
					}
					d.goOn(30)
					for class := range d.begun {
						must(t, d.batch(class, 100))
					}
					d.addUp()
					d.crash()
					d.addUp()
				})
			}
		}
		if !reached {
			break
		}
	}
}

// TestTakenAtTheWorstMoment takes the disk when the buffer has one segment and no reserve, all is acknowledged
// and a batch is open. A power cut at any step loses neither the accounts nor the open batch.
func TestTakenAtTheWorstMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("tries every step in turn, which is slow under the race detector; other tests of the package run side by side")
	}
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted %v", restarted), func(t *testing.T) {
			d := newDriven(t, 640<<10)
			for st := d.b.Stats(); st.Segments != 1 || st.DiskBytes < 48<<10; st = d.b.Stats() {
				must(t, d.batch(protocol.CS1, 5000))
				d.ackAll()
			}
			d.seq++
			must(t, d.b.Checkpoint(record(protocol.CS1, d.seq, 6000), progress(d.seq)))
			if restarted {
				must(t, d.b.Close())
			}
			must(t, os.Remove(filepath.Join(d.config.Dir, "RESERVE")))
			d.fill(0)
			if restarted {
				d.start()
				d.ackAll() // the open batch has become a record
			}
			if names, err := filepath.Glob(filepath.Join(d.config.Dir, "cs*")); err != nil || len(names) != 1 {
				t.Fatalf("got %s, want one segment", names)
			}
			d.takeAt, d.greedy, d.taken, d.examines = d.op+1, true, true, true
			if !restarted {
				must(t, d.b.Append([]buffer.Record{record(protocol.CS1, d.seq, 7000)}, progress(d.seq)))
				d.ackAll()
			}
			d.goOn(20)
			d.addUp()
			if d.looked < 100 {
				t.Errorf("looked at %d states, want at least 100", d.looked)
			}
		})
	}
}
