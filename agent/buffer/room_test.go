package buffer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// smallDisk is a buffer on a file system of its own that somebody else fills, too.
type smallDisk struct {
	*testing.T
	root, filler string
	config       buffer.Config
	b            *buffer.Buffer
	seq          uint64          // of the newest record
	done         map[uint64]bool // acknowledged
}

// newSmallDisk needs root on Linux. The buffer's own bound is far above what the disk has.
func newSmallDisk(t *testing.T, size int64) *smallDisk {
	t.Helper()
	d := &smallDisk{T: t, root: t.TempDir(), done: map[uint64]bool{}}
	if err := mountSmall(d.root, size); err != nil {
		lacking(t, "mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unmount(d.root) })
	d.filler = filepath.Join(d.root, "filler")
	d.config = buffer.Config{Dir: filepath.Join(d.root, "agent"), MaxBytes: 64 << 20, SegmentBytes: 256 << 10}
	return d
}

func (d *smallDisk) open() {
	d.Helper()
	d.b = open(d.T, d.config)
}

func (d *smallDisk) restart() {
	d.Helper()
	must(d.T, d.b.Close())
	d.open()
}

// crash goes on with what is on disk at this moment. The files are copied away and back.
func (d *smallDisk) crash() {
	d.Helper()
	saved := copyDir(d.T, d.config.Dir)
	_ = d.b.Close()
	must(d.T, os.RemoveAll(d.config.Dir))
	must(d.T, os.Mkdir(d.config.Dir, 0o700))
	copyInto(d.T, saved, d.config.Dir)
	d.open()
}

// fill takes all room but some bytes.
func (d *smallDisk) fill(but int64) {
	d.Helper()
	f, err := os.OpenFile(d.filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(d.T, err)
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.Fatal(err)
	}
	info, err := f.Stat()
	must(d.T, err)
	must(d.T, errors.Join(f.Truncate(max(0, info.Size()-but)), f.Close()))
}

func (d *smallDisk) giveBack() {
	d.Helper()
	must(d.T, os.Remove(d.filler))
}

// try appends one record.
func (d *smallDisk) try(class protocol.Priority, bytes int) error {
	r := record(class, d.seq+1, bytes)
	if d.seq%5 == 0 {
		r.Evicted = d.b.PendingEvicted() // as every batch does; and sometimes none is made for a while
	}
	err := d.b.Append([]buffer.Record{r}, progress(d.seq+1))
	if err == nil {
		d.seq++
	}
	return err
}

func (d *smallDisk) append(class protocol.Priority, n, bytes int) {
	d.Helper()
	for range n {
		if err := d.try(class, bytes); err != nil {
			d.Fatalf("sequence %d: %v", d.seq+1, err)
		}
	}
}

func (d *smallDisk) ackAll() {
	d.Helper()
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		for _, e := range all(d.T, d.b, class) {
			d.done[e.Record.ID.Seq] = true
			for _, r := range e.Record.Evicted {
				for s := r.From; s <= r.To; s++ {
					d.done[s] = true
				}
			}
			d.b.Ack(e.Position)
		}
	}
}

// addUp checks that each sequence is acknowledged, waiting or declared as evicted, and gives how many are.
func (d *smallDisk) addUp() (waiting, evicted int) {
	d.Helper()
	if got := d.b.Boots()[0].NextSeq; got != d.seq+1 {
		d.Errorf("the account says that %d comes next, want %d", got, d.seq+1)
	}
	return d.addUpOf(d.b)
}

func (d *smallDisk) addUpOf(b *buffer.Buffer) (waiting, evicted int) {
	d.Helper()
	seen := map[uint64]string{}
	mark := func(seq uint64, what string) {
		if before := seen[seq]; before != "" || d.done[seq] && what != "waiting" {
			d.Errorf("sequence %d is %s and %s", seq, what, before)
		}
		seen[seq] = what
	}
	declare := func(r protocol.SeqRange) {
		for s := r.From; s <= r.To; s++ {
			mark(s, "evicted")
			evicted++
		}
	}
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		for _, e := range all(d.T, b, class) {
			mark(e.Record.ID.Seq, "waiting")
			waiting++
			for _, r := range e.Record.Evicted {
				declare(r)
			}
		}
	}
	for _, r := range b.PendingEvicted() {
		declare(r)
	}
	for seq := uint64(1); seq <= d.seq; seq++ {
		if seen[seq] == "" && !d.done[seq] {
			d.Errorf("sequence %d is nowhere", seq)
		}
	}
	return waiting, evicted
}

// TestDiskFull: a buffer on a disk without room goes on collecting, and what it gives up for that is declared.
func TestDiskFull(t *testing.T) {
	tests := []struct {
		name string
		size int64
		run  func(*smallDisk)
	}{
		{"link down", 1 << 20, (*smallDisk).linkDown},
		{"link down on a larger disk", 6 << 20, (*smallDisk).linkDown},
		{"all of one segment acknowledged", 16 << 20, (*smallDisk).ackedSegment},
		{"no reserve, all acknowledged", 16 << 20, func(d *smallDisk) { d.withoutReserve(true) }},
		{"no reserve, all waiting", 16 << 20, func(d *smallDisk) { d.withoutReserve(false) }},
		{"full before the start", 1 << 20, (*smallDisk).fullBefore},
		{"another program takes and gives back", 2 << 20, (*smallDisk).takenAndGivenBack},
		{"another program takes all that is given up", 2 << 20, (*smallDisk).greedy},
		{"another program takes all that is given up for small files", 2 << 20, (*smallDisk).greedyBesideSmallFiles},
		{"nothing given up that cannot help", 1 << 20, (*smallDisk).hopeless},
		{"crash messages last", 1 << 20, (*smallDisk).highestLast},
		{"an open batch moves", 1 << 20, (*smallDisk).openBatch},
		{"files set aside go first", 1 << 20, (*smallDisk).spare},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(newSmallDisk(t, tt.size)) })
	}
}

// linkDown collects more than the disk holds, hands all over, goes on, and starts again in between.
func (d *smallDisk) linkDown() {
	d.open()
	n := 0
	for ; len(d.b.PendingEvicted()) == 0; n++ {
		d.append(protocol.CS1, 1, 20_000)
		d.append(protocol.CS4, 1, 200)
	}
	for ; n > 0; n-- {
		d.append(protocol.CS1, 1, 20_000)
		d.append(protocol.CS4, 1, 200)
	}
	_, evicted := d.addUp()
	if st := d.b.Stats(); st.EvictedRecords == 0 || st.EvictedSamples != 10*st.EvictedRecords || st.Shortages == 0 {
		d.Errorf("got %+v of %d evicted", st, evicted)
	}
	if first := seqs(d.T, d.b, protocol.CS4)[0]; first != 2 {
		d.Errorf("CS4 begins with sequence %d: want nothing of it evicted while there is CS1", first)
	}
	d.crash()
	d.addUp()
	d.append(protocol.CS1, 10, 20_000)
	d.restart()
	d.addUp()
	before := d.b.Stats().EvictedRecords
	d.ackAll()
	d.append(protocol.CS1, 10, 20_000)
	if got := d.b.Stats().EvictedRecords; got != before {
		d.Errorf("%d records were evicted although all before was acknowledged", got-before)
	}
	d.crash()
	if waiting, _ := d.addUp(); waiting < 10 {
		d.Errorf("got %d records, want at least the last 10", waiting)
	}
}

// ackedSegment has a disk full of what one segment holds, all of it acknowledged.
func (d *smallDisk) ackedSegment() {
	d.config.SegmentBytes = 1 << 20
	d.open()
	d.append(protocol.CS1, 20, 20_000)
	d.ackAll()
	d.fill(0)
	d.append(protocol.CS1, 1, 20_000)
	if waiting, evicted := d.addUp(); waiting != 1 || evicted != 0 {
		d.Errorf("got %d waiting and %d evicted, want 1 and 0", waiting, evicted)
	}
	d.crash()
	d.addUp()
}

// withoutReserve starts on a directory without reserve, whose only segment fills the disk.
func (d *smallDisk) withoutReserve(acked bool) {
	d.config.SegmentBytes = 1 << 20
	d.open()
	d.append(protocol.CS1, 20, 20_000)
	if acked {
		d.ackAll()
	}
	must(d.T, d.b.Close())
	must(d.T, os.Remove(filepath.Join(d.config.Dir, "RESERVE")))
	d.fill(0)
	d.open()
	d.append(protocol.CS1, 1, 10_000)
	waiting, evicted := d.addUp()
	if waiting != 1 || (evicted == 0) != acked {
		d.Errorf("got %d waiting and %d evicted", waiting, evicted)
	}
	d.crash()
	d.addUp()
}

func (d *smallDisk) fullBefore() {
	d.fill(0)
	d.open()
	for range 3 {
		err := d.try(protocol.CS1, 20_000)
		if !errors.Is(err, buffer.ErrFull) || !strings.HasPrefix(err.Error(), "buffer: disk full: ") || strings.Contains(err.Error(), d.root) {
			d.Fatalf("got %v", err)
		}
	}
	d.giveBack()
	d.append(protocol.CS1, 3, 20_000)
	d.restart()
	if waiting, _ := d.addUp(); waiting != 3 {
		d.Errorf("got %d waiting, want 3", waiting)
	}
}

func (d *smallDisk) takenAndGivenBack() {
	d.open()
	d.append(protocol.CS1, 30, 20_000)
	d.fill(0)
	d.append(protocol.CS1, 30, 20_000)
	waiting, evicted := d.addUp()
	if evicted == 0 || waiting < 15 {
		d.Errorf("got %d waiting and %d evicted: want some evicted, and about as much waiting as before", waiting, evicted)
	}
	d.restart()
	d.append(protocol.CS1, 5, 20_000)
	d.giveBack()
	before := d.b.Stats().EvictedRecords
	d.append(protocol.CS1, 20, 20_000)
	if got := d.b.Stats().EvictedRecords; got != before {
		d.Errorf("%d records were evicted although there was room again", got-before)
	}
	if _, err := os.Stat(filepath.Join(d.config.Dir, "RESERVE")); err != nil {
		d.Errorf("reserve with room again: %v", err)
	}
	d.addUp()
}

// greedy has somebody take at once whatever becomes free: the buffer keeps about
// half of what it had, and after that gives up some only now and then.
func (d *smallDisk) greedy() {
	d.open()
	now := time.Now()
	d.b.SetNow(func() time.Time { return now })
	d.append(protocol.CS1, 60, 20_000)
	var refused int
	press := func(n int) {
		for range n {
			d.fill(0)
			if err := d.try(protocol.CS1, 20_000); errors.Is(err, buffer.ErrFull) {
				refused++
			} else if err != nil {
				d.Fatal(err)
			}
		}
	}
	press(200)
	waiting, _ := d.addUp()
	if waiting < 20 || refused < 100 {
		d.Errorf("got %d records waiting and %d refused, want about half of 60 kept", waiting, refused)
	}
	before := d.b.Stats().EvictedRecords
	now = now.Add(time.Hour)
	press(20)
	if got := d.b.Stats().EvictedRecords - before; got == 0 || got > 20 {
		d.Errorf("an hour later: %d more were evicted, want a few", got)
	}
	d.giveBack()
	d.append(protocol.CS1, 10, 20_000)
	d.restart()
	d.addUp()
}

// greedyBesideSmallFiles has somebody take at once whatever becomes free, while nothing is appended but small files of others
// find no room: each of them waits as long for the next eviction as an append does, also after an append that has put it off.
func (d *smallDisk) greedyBesideSmallFiles() {
	d.open()
	now := time.Now()
	d.b.SetNow(func() time.Time { return now })
	d.append(protocol.CS1, 60, 20_000)
	for d.b.Patience() == 0 {
		d.fill(0)
		_ = d.try(protocol.CS1, 20_000)
	}
	now = now.Add(time.Hour)
	before := d.b.Stats().Segments
	for range 50 {
		d.fill(0)
		d.b.MakeRoom(protocol.CS2, 100)
		now = now.Add(time.Second)
	}
	if gone := before - d.b.Stats().Segments; gone != 1 {
		d.Errorf("%d segments went in 50 s for files of 100 bytes, want 1", gone)
	}
	d.addUp()
}

// hopeless appends what would not fit even if all went.
func (d *smallDisk) hopeless() {
	d.open()
	d.append(protocol.CS1, 5, 20_000)
	d.fill(0)
	if err := d.try(protocol.CS1, 200_000); !errors.Is(err, buffer.ErrFull) {
		d.Fatalf("got %v", err)
	}
	if waiting, evicted := d.addUp(); waiting != 5 || evicted != 0 {
		d.Errorf("got %d waiting and %d evicted, want all 5 kept", waiting, evicted)
	}
}

// highestLast has a disk full of crash messages: what is of lower class is dropped itself, and counted.
func (d *smallDisk) highestLast() {
	d.open()
	for d.b.Stats().Shortages == 0 {
		d.append(protocol.CS6, 1, 20_000)
	}
	before := seqs(d.T, d.b, protocol.CS6)
	for range 50 {
		d.append(protocol.CS1, 1, 20_000)
	}
	wantSeqs(d.T, seqs(d.T, d.b, protocol.CS6), before)
	d.crash()
	wantSeqs(d.T, seqs(d.T, d.b, protocol.CS6), before)
	if _, evicted := d.addUp(); evicted < 40 {
		d.Errorf("%d evicted, want most of 50", evicted)
	}
}

// openBatch keeps a checkpoint while all around it is given up.
func (d *smallDisk) openBatch() {
	d.open()
	d.seq++
	must(d.T, d.b.Checkpoint(record(protocol.CS0, 1, 5000), progress(1)))
	d.append(protocol.CS0, 5, 20_000)
	d.append(protocol.CS3, 80, 20_000)
	d.crash()
	wantSeqs(d.T, seqs(d.T, d.b, protocol.CS0), []uint64{1})
	d.addUp()
}

func (d *smallDisk) spare() {
	d.open()
	d.append(protocol.CS1, 10, 20_000)
	must(d.T, os.WriteFile(filepath.Join(d.config.Dir, "cs1-00000099.seg.corrupt"), make([]byte, 200_000), 0o600))
	d.fill(0)
	d.append(protocol.CS1, 5, 20_000)
	if waiting, evicted := d.addUp(); waiting != 15 || evicted != 0 {
		d.Errorf("got %d waiting and %d evicted, want 15 and 0", waiting, evicted)
	}
}
