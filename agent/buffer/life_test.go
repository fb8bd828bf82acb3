package buffer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
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
	boot  int
	boots []buffer.Progress // accounts as they should be
	doubt []buffer.Progress // of commits that failed since the last one that did not: a crash may bring one back
}

var lifeClasses = []protocol.Priority{protocol.CS0, protocol.CS1, protocol.CS4, protocol.CS6}

// start opens the buffer as a new boot. Sequences go on, to keep them apart.
func (l *life) start() {
	l.t.Helper()
	l.boot++
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
			appends = append(appends, bootRecord(bootNumber(l.boot), class, next[class], l.rnd.IntN(20_000)))
			delete(next, class)
			continue
		}
		seq++
		appends = append(appends, bootRecord(bootNumber(l.boot), class, seq, l.rnd.IntN(20_000)))
	}
	if class := lifeClasses[l.rnd.IntN(3)]; l.rnd.IntN(2) == 0 {
		if next[class] == 0 {
			seq++
			next[class] = seq
		}
		checkpoints = append(checkpoints, bootRecord(bootNumber(l.boot), class, next[class], l.rnd.IntN(5000)))
	}
	if len(appends) > 0 && l.rnd.IntN(3) == 0 {
		appends[0].Evicted = l.b.PendingEvicted()
	}
	for {
		p := bootProgress(bootNumber(l.boot), seq)
		err := l.b.Commit(appends, checkpoints, p)
		if err == nil {
			l.last, l.open, l.doubt = seq, next, nil
			l.account(p)
			return
		}
		l.doubt = append(l.doubt, p)
		if !errors.Is(err, errInjected) {
			l.t.Fatal(err)
		}
		l.check()
		switch l.rnd.IntN(4) {
		case 0:
			l.crash()
			return
		case 1: // given up
			return
		}
	}
}

// account takes note of a committed account.
func (l *life) account(p buffer.Progress) {
	if n := len(l.boots); n > 0 && l.boots[n-1].Boot == p.Boot {
		l.boots = l.boots[:n-1]
	}
	l.boots = append(l.boots, p)
	l.boots = l.boots[max(0, len(l.boots)-buffer.MaxBoots):]
}

func (l *life) ack() {
	l.t.Helper()
	classes := l.b.Classes()
	if len(classes) == 0 {
		return
	}
	entries := all(l.t, l.b, classes[l.rnd.IntN(len(classes))])
	everything := l.rnd.IntN(2) == 0
	for _, e := range entries {
		if everything || l.rnd.IntN(3) == 0 {
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

// crash goes on with a copy of the files; a commit in doubt may be there.
func (l *life) crash() {
	l.t.Helper()
	l.c.Dir = copyDir(l.t, l.c.Dir)
	fault := l.fault
	l.fault = 0
	_ = l.b.Close()
	l.start()
	l.fault = fault
	for _, p := range l.doubt {
		if got := l.b.Boots(); len(got) > 0 && reflect.DeepEqual(got[len(got)-1], p) {
			l.account(p)
			l.last = p.NextSeq - 1
		}
	}
	l.doubt = nil
	clear(l.open)
	l.check()
}

func (l *life) restart() {
	l.t.Helper()
	fault := l.fault
	l.fault = 0
	must(l.t, l.b.Close())
	l.start()
	l.fault, l.doubt = fault, nil
	clear(l.open)
	l.check()
}

// check finds each sequence once: waiting or declared, unless it was
// acknowledged (it may come again after a crash) or is in an open batch.
func (l *life) check() {
	l.t.Helper()
	if got := l.b.Boots(); len(got)+len(l.boots) > 0 && !reflect.DeepEqual(got, l.boots) {
		l.t.Fatalf("accounts:\ngot  %v\nwant %v", got, l.boots)
	}
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
				case 1, 6, 7:
					l.crash()
				case 2, 3, 4:
					l.ack()
				case 5:
					if l.b.Flush() == nil {
						l.doubt = nil
					}
				default:
					l.commit()
				}
			}
			l.check()
		})
	}
}
