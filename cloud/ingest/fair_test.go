package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/reasons"
)

// claiming makes a batch by hand whose groups claim rows of constant columns, one each 1/16 s.
func (k *maker) claiming(seq uint64, rows, columns int) []byte {
	k.tb.Helper()
	group := []any{0, rows, []byte{0x30, 0, 0x80, 0x80, 0xF4, 0x03}}
	for range columns {
		group = append(group, 7)
	}
	id := k.id(seq)
	return cborOf(k.tb, 1, k.hash.ID(), string(id.Device), id.Boot, seq, start.UnixMilli(), []any{group})
}

// large is the largest batch that is let through: 2^20 values that hardly change, in about a kilobyte.
func (k *maker) large(seq uint64) []byte { return k.values(seq, batches.MaxCells) }

// values is a batch with so many values that hardly change.
func (k *maker) values(seq uint64, cells int) []byte {
	k.tb.Helper()
	e := batches.NewEncoder(k.schema, k.hash.ID())
	x := uint32(seq)
	for i := range int64(cells / 2) {
		v := i / 4096
		if i%4096 < 2 { // some noise, or it would be less than a byte for 1,024 values
			x = x*1664525 + 1013904223
			v += int64(x >> 8)
		}
		e.Add(0, start.UnixMicro()+i*1000, []int64{v, 3})
	}
	out, err := e.Encode(batches.Header{Schema: k.hash.ID(), ID: k.id(seq)}, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	return out
}

// arrivals remembers in which order the vehicles' batches reached a consumer, and when.
type arrivals struct {
	mu   sync.Mutex // guards the rest
	list []string
	when []time.Time
	slow time.Duration
}

func (a *arrivals) Apply(_ context.Context, b *ingest.Decoded) error {
	time.Sleep(a.slow)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, fmt.Sprint(b.Vehicle, ".", b.Header.ID.Seq))
	a.when = append(a.when, time.Now())
	return nil
}

func (a *arrivals) find(name string) (place int, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, n := range a.list {
		if n == name {
			return i, a.when[i]
		}
	}
	return -1, time.Time{}
}

// TestClaimsAreDeadLetters: what claims too much is set aside before anything is expanded,
// and a neighbour's batch behind a thousand of them is there at once.
func TestClaimsAreDeadLetters(t *testing.T) {
	b := newBench(t)
	told := &arrivals{}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{batchesTo("told", told.Apply)} }
	k := b.maker
	const flood = 1000
	for seq := uint64(1); seq <= flood; seq++ {
		b.up.Publish(k.message(k.claiming(seq, 1<<20, 4), k.id(seq).String()), func(uint64, error) {})
	}
	neighbour := *k
	neighbour.vehicle = "car2"
	neighbour.send(b.up, 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	p, _ := b.start()
	b.flush(p)
	runtime.ReadMemStats(&after)
	_, at := told.find("car2.1")
	if took := at.Sub(began); at.IsZero() || took > 30*time.Second {
		t.Errorf("the neighbour's batch arrived after %v, want it at once", took)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 {
		t.Errorf("allocated %d MiB for %d messages of %d bytes", got>>20, flood, len(k.claiming(1, 1<<20, 4)))
	}
	letters := b.dead.all()
	if len(letters) != flood {
		t.Fatalf("got %d dead letters, want %d", len(letters), flood)
	}
	if h := letters[0].Header; h[ingest.HeaderReason] != string(reasons.TooLarge) || !strings.Contains(h[ingest.HeaderDetail], "values") {
		t.Errorf("got reason %q, detail %q", h[ingest.HeaderReason], h[ingest.HeaderDetail])
	}
	t.Logf("%d messages of %d bytes took %v, %d MiB allocated; the neighbour's batch arrived after %v",
		flood, len(k.claiming(1, 1<<20, 4)), time.Since(began), (after.TotalAlloc-before.TotalAlloc)>>20, at.Sub(began))
}

// TestFair: a vehicle with the largest batches that are let through does not delay another's
// by more than a piece of its work, and its order is kept.
func TestFair(t *testing.T) {
	b := newBench(t)
	told := &arrivals{}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{batchesTo("told", told.Apply)} }
	k := b.maker
	const backlog = 3
	for seq := uint64(1); seq <= backlog; seq++ {
		b.up.Publish(k.message(k.large(seq), k.id(seq).String()), func(uint64, error) {})
	}
	neighbour := *k
	neighbour.vehicle = "car2"
	neighbour.send(b.up, 1, 2, 3)
	began := time.Now()
	p, stop := b.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(3) {
		if place, _ := told.find(fmt.Sprint("car2.", seq+1)); place < 0 || place > int(seq)+1 {
			t.Errorf("the neighbour's batch %d came as number %d", seq+1, place+1)
		}
	}
	_, at := told.find("car2.1")
	t.Logf("%d batches of %d values in %d bytes took %v; the neighbour's batch arrived after %v",
		backlog, batches.MaxCells, len(k.large(1)), time.Since(began), at.Sub(began))
	last := -1
	for seq := range uint64(backlog) {
		place, _ := told.find(fmt.Sprint("car1.", seq+1))
		if place <= last {
			t.Errorf("batch %d came as number %d, before the one before it", seq+1, place+1)
		}
		last = place
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := p.Checkpoint(); got != backlog+3 {
		t.Errorf("checkpoint: got %d, want %d", got, backlog+3)
	}
}

// TestNewVehiclesFirst: behind many vehicles with a backlog each, one that begins to send has its turn at once.
func TestNewVehiclesFirst(t *testing.T) {
	const many, each = 24, 3
	b := newBench(t)
	k := *b.maker
	for seq := uint64(1); seq <= each; seq++ {
		for i := range many {
			k.vehicle = protocol.VehicleID(fmt.Sprint("busy", i))
			b.up.Publish(k.message(k.values(seq, 24_000), k.id(seq).String()), func(uint64, error) {}) // more than a turn
		}
	}
	told := &arrivals{}
	var once sync.Once
	turns := 0 // before the new vehicle's batch was sent
	b.config = func(c *ingest.ProcessorConfig) {
		c.Debit = func(_ protocol.VehicleID, _ bool, n int) { // in a vehicle's turn
			if n != 24_000 {
				return
			}
			if turns++; turns < many+many/2 { // in the second round
				return
			}
			once.Do(func() {
				k := *b.maker
				k.vehicle = "new"
				k.send(b.up, 1)
			})
		}
		c.Consumers = []ingest.Consumer{batchesTo("told", told.Apply)}
	}
	p, _ := b.start()
	b.flush(p)
	if place, _ := told.find("new.1"); place < many || place > many+many/2+4 {
		t.Errorf("the new vehicle's batch came as number %d, want soon after it was sent behind %d others", place+1, many+many/2)
	}
	if got := told.count(); got != many*each+1 {
		t.Errorf("got %d batches, want %d", got, many*each+1)
	}
}

// TestReadsOnBesideLongWork: while each turn of one vehicle takes long, and the stream gives little in one read, a
// neighbour's batch behind hundreds of short ones of a third vehicle still has its turn soon.
func TestReadsOnBesideLongWork(t *testing.T) {
	const long, short, most = 40, 300, 6
	b := newBench(t)
	k := b.maker
	for seq := uint64(1); seq <= long; seq++ {
		b.up.Publish(k.message(k.values(seq, 24_000), k.id(seq).String()), func(uint64, error) {})
	}
	chatty, neighbour := *k, *k
	chatty.vehicle, neighbour.vehicle = "car2", "car3"
	for seq := uint64(1); seq <= short; seq++ {
		chatty.send(b.up, seq)
	}
	neighbour.send(b.up, 1)
	turns, before := 0, -1 // of the vehicle with long turns: in all, and before the neighbour's
	b.config = func(c *ingest.ProcessorConfig) {
		c.Stream = &watched{memory: b.up}                       // 8 messages a read
		c.Debit = func(vid protocol.VehicleID, _ bool, n int) { // in the vehicle's turn, and when a message is read
			if vid == k.vehicle && n == 24_000 {
				time.Sleep(30 * time.Millisecond)
			}
		}
		c.Consumers = []ingest.Consumer{batchesTo("order", func(_ context.Context, d *ingest.Decoded) error {
			switch d.Vehicle {
			case k.vehicle:
				turns++
			case neighbour.vehicle:
				before = turns
			}
			return nil
		})}
	}
	p, stop := b.start()
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if turns != long {
		t.Errorf("got %d long batches, want %d", turns, long)
	}
	if before < 0 || before > most {
		t.Errorf("%d long batches were done before the neighbour's, want at most %d", before, most)
	}
}

// TestBacklogOverRestarts: a vehicle with more waiting than may be in memory, and others
// behind it, with commits in between and a restart at any place: each batch is in the
// lake once, and in order.
func TestBacklogOverRestarts(t *testing.T) {
	const flood, others = 700, 35
	whole := newBench(t)
	k := whole.maker
	for seq := uint64(1); seq <= flood; seq++ {
		k.send(whole.up, seq)
		if seq%100 == 0 {
			whole.up.Publish(k.message([]byte("garbage"), ""), func(uint64, error) {})
		}
		if seq%(flood/others) == 0 {
			other := *k
			other.vehicle = "car2"
			other.send(whole.up, seq)
		}
	}
	messages := whole.up.all()
	p, _ := whole.start()
	whole.flush(p)
	want := p.Accounts("")

	b := newBench(t)
	for _, m := range messages {
		b.up.Publish(m, func(uint64, error) {})
	}
	debited := 0 // since the last start
	starts := 0
	for p.Checkpoint() < uint64(len(messages)) || starts == 0 {
		told, debits := &arrivals{}, 0
		stopped := make(chan struct{})
		var once sync.Once
		b.config = func(c *ingest.ProcessorConfig) {
			c.FlushRows = 2000
			c.Consumers = []ingest.Consumer{batchesTo("told", func(ctx context.Context, d *ingest.Decoded) error {
				if told.count() == 150 { // stop here
					once.Do(func() { close(stopped) })
				}
				return told.Apply(ctx, d)
			})}
			c.Debit = func(_ protocol.VehicleID, _ bool, n int) { debits += n } // by one goroutine
		}
		var stop func() error
		p, stop = b.start()
		starts++
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		go func() { ended <- p.Flush(ctx) }()
		select {
		case <-stopped:
		case <-ended:
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		cancel()
		debited = debits
		if starts > 30 {
			t.Fatalf("no end after %d starts: checkpoint %d of %d", starts, p.Checkpoint(), len(messages))
		}
	}
	if starts < 3 {
		t.Errorf("got %d starts, want several", starts)
	}
	count := stored(t, b.dir)
	if len(count) != flood+others {
		t.Errorf("got rows of %d batches, want %d", len(count), flood+others)
	}
	for name, n := range count {
		if n != 2*rowsPerBatch {
			t.Errorf("batch %s: got %d rows, want %d", name, n, 2*rowsPerBatch)
		}
	}
	checkAccounts(t, p.Accounts(""), want)
	if got, want := uint64(debited), p.Stats().Samples; got != want {
		t.Errorf("debited %d samples in all, want those of the batches, %d", got, want)
	}
	last, snapshot := committed(t, b.dir)
	if last != uint64(len(messages)) || !bytes.Equal(snapshot, p.Ledger().Snapshot()) {
		t.Errorf("checkpoint at %d of %d, or it is not the ledger alone", last, len(messages))
	}
	if files, _ := filepath.Glob(filepath.Join(b.dir, "date=*", "*.parquet")); len(files) < starts {
		t.Errorf("got %d files for %d starts", len(files), starts)
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.list)
}

// TestDeletedBacklog: messages that the stream deletes while they wait for their turn are counted, and nothing waits for them.
func TestDeletedBacklog(t *testing.T) {
	b := newBench(t)
	k := b.maker
	const flood = 600
	for seq := uint64(1); seq <= flood; seq++ {
		k.send(b.up, seq)
	}
	var once sync.Once
	b.config = func(c *ingest.ProcessorConfig) {
		c.Debit = func(_ protocol.VehicleID, _ bool, n int) {
			if n > 0 && n == 2*rowsPerBatch { // the first turn
				once.Do(func() {
					b.up.forget(400, 500)
					b.up.forget(550, flood-1)
				})
			}
		}
	}
	p, stop := b.start()
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.Checkpoint(); got != flood {
		t.Errorf("checkpoint: got %d, want %d", got, flood)
	}
	s := p.Stats()
	if s.Batches+s.Skipped != flood || s.Skipped == 0 || s.Batches < 300 {
		t.Errorf("got %d batches and %d skipped, want %d in all", s.Batches, s.Skipped, flood)
	}
}

// silent is a stream whose server is away while off: it gives nothing, and no error.
type silent struct {
	*memory
	off   atomic.Bool
	reads atomic.Int64 // while off
}

func (s *silent) Read(ctx context.Context, from uint64, limit int, wait time.Duration) ([]ingest.Message, error) {
	if s.off.Load() {
		s.reads.Add(1)
		return s.memory.Read(ctx, ^uint64(0), limit, wait)
	}
	return s.memory.Read(ctx, from, limit, wait)
}

// TestSilentBacklog: messages that wait for their turn in the stream are not taken for deleted while it only gives nothing.
func TestSilentBacklog(t *testing.T) {
	b := newBench(t)
	const flood = 600
	for seq := uint64(1); seq <= flood; seq++ {
		b.maker.send(b.up, seq)
	}
	stream := &silent{memory: b.up}
	var once sync.Once
	b.config = func(c *ingest.ProcessorConfig) {
		c.Stream = stream
		c.Debit = func(_ protocol.VehicleID, _ bool, n int) {
			if n > 2*rowsPerBatch { // what a message may claim that is not kept in memory
				once.Do(func() { stream.off.Store(true) })
			}
		}
	}
	p, stop := b.start()
	wait(t, "the silence", func() bool { return stream.reads.Load() > 40 })
	if got := p.Stats(); got.Batches+got.Skipped == flood {
		t.Fatalf("got %+v, want some of %d to wait", got, flood)
	}
	stream.off.Store(false)
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats(); got.Batches != flood || got.Skipped != 0 || p.Checkpoint() != flood {
		t.Errorf("got %d batches, %d skipped and checkpoint %d, want %d, none and %d", got.Batches, got.Skipped, p.Checkpoint(), flood, flood)
	}
}

// watched is a stream that gives little at a time, and knows how much its reader has in memory.
type watched struct {
	*memory
	reader chan *ingest.Processor // gives it once: before, nothing is read; nil: nobody wants to know
	first  sync.Once
	is     *ingest.Processor
	held   atomic.Uint64 // the most so far
}

func (w *watched) Read(ctx context.Context, from uint64, limit int, wait time.Duration) ([]ingest.Message, error) {
	if w.reader != nil {
		w.first.Do(func() { w.is = <-w.reader })
		w.held.Store(max(w.held.Load(), w.is.Stats().Held))
	}
	return w.memory.Read(ctx, from, min(limit, 8), wait)
}

// TestReadAheadIsBounded: however many vehicles have a backlog, and of whatever size, what waits in memory has a bound.
func TestReadAheadIsBounded(t *testing.T) {
	const size, each, most = protocol.MaxPacket - 4096, 12, 40 << 20
	for _, vehicles := range []int{1, 40} {
		b := newBench(t)
		k := b.maker
		for i := range each * vehicles {
			k.vehicle = protocol.VehicleID(fmt.Sprint("car", i%vehicles))
			m := k.message(make([]byte, size), "")
			m.Header[ingest.HeaderTopic] = "v1/" + string(k.vehicle) + "/up/event/load"
			b.up.Publish(m, func(uint64, error) {})
		}
		stream := &watched{memory: b.up, reader: make(chan *ingest.Processor, 1)}
		b.config = func(c *ingest.ProcessorConfig) {
			c.Stream = stream
			c.Consumers = []ingest.Consumer{{Name: "told", Word: func(context.Context, *ingest.Word) error { return nil }}}
		}
		p, stop := b.start()
		stream.reader <- p
		b.flush(p)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got := p.Stats().Others; got != uint64(each*vehicles) {
			t.Errorf("%d vehicles: got %d messages, want %d", vehicles, got, each*vehicles)
		}
		if got := stream.held.Load(); got == 0 || got > most {
			t.Errorf("%d vehicles: read %d MiB ahead, want some and at most %d", vehicles, got>>20, most>>20)
		}
	}
}
