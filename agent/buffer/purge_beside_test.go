package buffer_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

func research(class protocol.Priority, seq uint64, bytes int) buffer.Record {
	r := record(class, seq, bytes)
	r.Purpose = "research"
	return r
}

// TestPurgeOnFullDisk: a purge needs no room, neither for its account nor for open batches of several classes, and gives back what it can.
func TestPurgeOnFullDisk(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		d := newSmallDisk(t, 4<<20)
		d.open()
		open := []buffer.Record{research(protocol.CS1, 4, 5000), research(protocol.CS4, 5, 900), record(protocol.CS4, 6, 800)}
		must(t, d.b.Commit([]buffer.Record{research(protocol.CS1, 1, 90_000), record(protocol.CS1, 2, 300), research(protocol.CS6, 3, 250_000)}, open, progress(6)))
		if !reserve {
			must(t, os.Remove(filepath.Join(d.config.Dir, "RESERVE")))
		}
		d.fill(0)
		wantPurged(t, d.b, "research", 4)
		for range 3 { // also when what became a record is counted among the others
			wantSeqs(t, seqs(t, d.b, protocol.CS1), []uint64{2})
			if st := d.b.Stats(); st.EvictedRecords != 4 || st.PurgedRecords != 4 || len(d.b.PendingEvicted()) != 2 {
				t.Errorf("got %+v and %v, want sequences 1 and 3 to 5 gone", st, d.b.PendingEvicted())
			}
			d.crash()
			wantSeqs(t, seqs(t, d.b, protocol.CS4), []uint64{6})
			wantSeqs(t, seqs(t, d.b, protocol.CS6), nil)
			must(t, d.b.Append([]buffer.Record{record(protocol.CS0, 7, 10)}, progress(7)))
		}
		_ = unmount(d.root)
	}
}

// TestPurgeAfterCommit: a commit that was queued before a purge is purged as well, and one that comes after it is not.
func TestPurgeAfterCommit(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b, err := buffer.OpenFaulty(buffer.Config{Dir: memoryDir(t)}, func(op string, done bool) error {
		if op == "commit" && !done {
			once.Do(func() { close(held); <-hold })
		}
		return nil
	})
	must(t, err)
	defer b.Close() //nolint:errcheck // the directory goes
	var calls sync.WaitGroup
	start := func(queued int, call func() error) {
		calls.Go(func() {
			if err := call(); err != nil {
				t.Error(err)
			}
		})
		for b.Queued() < queued {
			time.Sleep(time.Millisecond)
		}
	}
	first := func() error { return b.Append([]buffer.Record{research(protocol.CS1, 1, 10)}, progress(1)) }
	start(0, first)
	<-held
	start(1, func() error {
		return b.Commit([]buffer.Record{research(protocol.CS1, 2, 10)}, []buffer.Record{research(protocol.CS4, 3, 10)}, progress(3))
	})
	start(2, func() error {
		if gone, err := b.Purge("research"); gone.Records != 3 || err != nil {
			return fmt.Errorf("got %+v, %w, want 3 records", gone, err)
		}
		return nil
	})
	start(3, func() error { return b.Append([]buffer.Record{research(protocol.CS1, 4, 10)}, progress(4)) })
	close(hold)
	calls.Wait()
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{4})
	if got := b.Stats(); got.Checkpoints != 0 || got.PurgedRecords != 3 {
		t.Errorf("got %+v, want 3 purged", got)
	}
}

// TestPurgeBesideOthers purges while others append, evict, read and acknowledge, on disks that refuse now and then. Nothing
// of the purpose that was there before a purge is there after it, all is accounted for once, and what the calls say adds up.
func TestPurgeBesideOthers(t *testing.T) {
	var refuse sync.Mutex
	source := rand.New(rand.NewPCG(1, 2))
	b, err := buffer.OpenFaulty(buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}, func(op string, done bool) error {
		refuse.Lock()
		defer refuse.Unlock()
		if op == "commit" && source.IntN(12) == 0 {
			return errInjected
		}
		return nil
	})
	must(t, err)
	defer b.Close() //nolint:errcheck // the directory goes
	const last = 600
	var mu sync.Mutex // guards what follows
	var stored uint64
	acked := map[uint64]bool{}
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		defer close(stop)
		for seq := uint64(1); seq <= last; seq++ {
			r := record([]protocol.Priority{protocol.CS1, protocol.CS4}[seq%2], seq, 4000)
			if seq%3 > 0 {
				r.Purpose = "research"
			}
			for b.Append([]buffer.Record{r}, progress(seq)) != nil {
			}
			mu.Lock()
			stored = seq
			mu.Unlock()
		}
	})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			list, err := b.Read(buffer.Position{}, protocol.CS4, 5, 0)
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range list {
				mu.Lock()
				before := b.Stats().Acked
				if b.Ack(e.Position); b.Stats().Acked > before {
					acked[e.Record.ID.Seq] = true
				}
				mu.Unlock()
			}
		}
	})
	purged := uint64(0)
	for running := true; running; {
		select {
		case <-stop:
			running = false
		default:
		}
		mu.Lock()
		before := stored
		mu.Unlock()
		gone, err := b.Purge("research")
		if err != nil && !errors.Is(err, errInjected) || err != nil && gone.Records > 0 {
			t.Fatalf("got %+v, %v", gone, err)
		}
		purged += gone.Records
		for _, class := range []protocol.Priority{protocol.CS1, protocol.CS4} {
			for _, e := range all(t, b, class) {
				if err == nil && e.Record.Purpose == "research" && e.Record.ID.Seq <= before {
					t.Fatalf("sequence %d is there after the purge, and was stored before it", e.Record.ID.Seq)
				}
			}
		}
	}
	others.Wait()
	for b.Flush() != nil {
	}
	if st := b.Stats(); st.PurgedRecords != purged || st.EvictedRecords < purged || purged == 0 || st.LostRecords > 0 {
		t.Errorf("got %+v, the calls say %d purged", st, purged)
	}
	waiting, evicted := account(t, b, last-uint64(len(acked)))
	for seq := range acked {
		if waiting[seq] || evicted[seq] {
			t.Errorf("sequence %d is acknowledged and there, or declared", seq)
		}
	}
	if st := b.Stats(); int(st.EvictedRecords) != len(evicted) {
		t.Errorf("%d records count as evicted, %d are declared", st.EvictedRecords, len(evicted))
	}
}

// childPurge appends and checkpoints for two purposes and purges one of them, until it is killed.
func childPurge() error {
	b, err := buffer.Open(buffer.Config{Dir: os.Getenv(envDir), MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	seq, err := strconv.ParseUint(os.Getenv(envBoot), 10, 64)
	for round := 1; err == nil; round++ {
		seq += 4
		err = b.Commit([]buffer.Record{record(protocol.CS1, seq-3, 9000), research(protocol.CS1, seq-2, 5000)},
			[]buffer.Record{research(protocol.CS1, seq-1, 700), research(protocol.CS4, seq, 100)}, progress(seq))
		fmt.Println("stored", seq)
		if err == nil && round%3 == 0 {
			_, err = b.Purge("research")
			fmt.Println("purged", seq)
		}
	}
	return err
}

// TestKilledPurge kills a process that purges, at random moments: what a purge took that had returned is not
// there again, and everything is there or declared, once.
func TestKilledPurge(t *testing.T) {
	dir := t.TempDir()
	last, purged := uint64(0), uint64(0)
	for range 12 {
		cmd := childCommand(t, "purge", dir, int(last))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines, stored := bufio.NewScanner(out), uint64(0)
		for lines.Scan() {
			var what string
			var seq uint64
			if _, err := fmt.Sscanf(lines.Text(), "%s %d", &what, &seq); err != nil {
				t.Fatalf("child says %q", lines.Text())
			}
			if what == "purged" {
				purged = seq
			} else if stored == 0 {
				time.AfterFunc(time.Duration(rand.IntN(60_000))*time.Microsecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
			}
			stored = max(stored, seq)
		}
		_ = cmd.Wait()
		b := open(t, buffer.Config{Dir: dir, MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
		last = b.Boots()[0].NextSeq - 1
		if last < stored {
			t.Fatalf("%d was stored, the account says %d", stored, last)
		}
		waiting, evicted := account(t, b, last)
		for seq := range waiting {
			if seq <= purged && seq%4 != 1 {
				t.Fatalf("sequence %d was purged and is there again", seq)
			}
		}
		if got := b.Stats(); int(got.PurgedRecords) != len(evicted) || got.EvictedRecords != got.PurgedRecords {
			t.Fatalf("got %+v, %d are declared", got, len(evicted))
		}
		must(t, b.Close())
	}
	if purged == 0 {
		t.Error("no purge came to its end")
	}
	b := open(t, buffer.Config{Dir: dir})
	_, err := b.Purge("research")
	must(t, err)
	waiting, _ := account(t, b, last)
	for seq := range waiting {
		if seq%4 != 1 {
			t.Errorf("sequence %d is there after the purge", seq)
		}
	}
}
