package buffer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// life is a random history of one vehicle with a small buffer: appends,
// checkpoints, acknowledgements, evictions, file operations that fail, restarts, crashes.
type life struct {
	t     *testing.T
	rnd   *rand.Rand
	c     buffer.Config
	b     *buffer.Buffer
	fault int // in this many file operations one fails; 0: none
	last  uint64
	open  map[protocol.Priority]uint64 // sequences of open batches
	acked map[uint64]bool
}

var lifeClasses = []protocol.Priority{protocol.CS0, protocol.CS1, protocol.CS4, protocol.CS6}

func (l *life) start() {
	l.t.Helper()
	b, err := buffer.OpenFaulty(l.c, func(op string, done bool) error {
		if l.fault > 0 && l.rnd.IntN(l.fault) == 0 {
			return errInjected
		}
		return nil
	})
	must(l.t, err)
	l.b = b
	l.t.Cleanup(func() { _ = b.Close() })
}

// commit makes a random commit and tries it until it succeeds, or crashes.
func (l *life) commit() {
	l.t.Helper()
	seq := l.last
	next := map[protocol.Priority]uint64{}
	for k, v := range l.open {
		next[k] = v
	}
	var appends, checkpoints []buffer.Record
	for range l.rnd.IntN(4) {
		class := lifeClasses[l.rnd.IntN(len(lifeClasses))]
		if next[class] != 0 && l.rnd.IntN(3) == 0 {
			appends = append(appends, record(class, next[class], l.rnd.IntN(20_000)))
			delete(next, class)
			continue
		}
		seq++
		appends = append(appends, record(class, seq, l.rnd.IntN(20_000)))
	}
	if class := lifeClasses[l.rnd.IntN(3)]; l.rnd.IntN(2) == 0 {
		if next[class] == 0 {
			seq++
			next[class] = seq
		}
		checkpoints = append(checkpoints, record(class, next[class], l.rnd.IntN(5000)))
	}
	if len(appends) > 0 && l.rnd.IntN(3) == 0 {
		appends[0].Evicted = l.b.PendingEvicted()
	}
	for {
		err := l.b.Commit(appends, checkpoints, progress(seq))
		if err == nil {
			l.last, l.open = seq, next
			return
		}
		if !errors.Is(err, errInjected) {
			l.t.Fatal(err)
		}
		l.check()
		if l.rnd.IntN(3) == 0 {
			l.crash(seq)
			return
		}
	}
}

func (l *life) ack() {
	l.t.Helper()
	classes := l.b.Classes()
	if len(classes) == 0 {
		return
	}
	entries := all(l.t, l.b, classes[l.rnd.IntN(len(classes))])
	for _, e := range entries {
		if l.rnd.IntN(3) == 0 {
			l.b.Ack(e.Position)
			l.acked[e.Record.ID.Seq] = true
			for _, r := range e.Record.Evicted {
				for s := r.From; s <= r.To; s++ {
					l.acked[s] = true // declared to the cloud
				}
			}
		}
	}
}

// crash goes on with a copy of the files; the last commit, up to attempted, may be there.
func (l *life) crash(attempted uint64) {
	l.t.Helper()
	l.c.Dir = copyDir(l.t, l.c.Dir)
	fault := l.fault
	l.fault = 0
	_ = l.b.Close()
	l.start()
	l.fault = fault
	got := uint64(0)
	if p := l.b.Boots(); len(p) > 0 {
		got = p[0].NextSeq - 1
	}
	if got != l.last && got != attempted {
		l.t.Fatalf("the account says %d after a crash, want %d or %d", got, l.last, attempted)
	}
	l.last = got
	clear(l.open)
	l.check()
}

func (l *life) restart() {
	l.t.Helper()
	fault := l.fault
	l.fault = 0
	must(l.t, l.b.Close())
	l.start()
	l.fault = fault
	clear(l.open)
	l.check()
}

// check finds each sequence once: waiting or declared, unless it was
// acknowledged (it may come again after a crash) or is in an open batch.
func (l *life) check() {
	l.t.Helper()
	times := map[uint64]int{}
	declare := func(list []protocol.SeqRange) {
		for _, r := range list {
			for s := r.From; s <= r.To; s++ {
				times[s]++
			}
		}
	}
	for _, class := range l.b.Classes() {
		for _, e := range all(l.t, l.b, class) {
			times[e.Record.ID.Seq]++
			declare(e.Record.Evicted)
		}
	}
	declare(l.b.PendingEvicted())
	open := map[uint64]bool{}
	for _, s := range l.open {
		open[s] = true
	}
	for s := uint64(1); s <= l.last; s++ {
		if n := times[s]; n != 1 && !(n == 0 && (l.acked[s] || open[s])) {
			l.t.Fatalf("sequence %d of %d is there %d times (acknowledged %v, open %v)", s, l.last, n, l.acked[s], open[s])
		}
	}
	if extra := times[l.last+1]; extra > 0 {
		l.t.Fatalf("sequence %d is there, the account says %d", l.last+1, l.last)
	}
}

func TestRandomLife(t *testing.T) {
	for seed := range uint64(9) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			l := &life{
				t: t, rnd: rand.New(rand.NewPCG(seed, 7)), open: map[protocol.Priority]uint64{}, acked: map[uint64]bool{},
				c: buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10},
			}
			l.start()
			l.fault = []int{0, 50, 10}[seed%3]
			for range 120 {
				switch l.rnd.IntN(30) {
				case 0:
					l.restart()
				case 1:
					l.crash(l.last)
				case 2, 3, 4:
					l.ack()
				case 5:
					_ = l.b.Flush()
				default:
					l.commit()
				}
			}
			l.check()
		})
	}
}
