package ingest_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/cloud/lake"
	"telltale.dev/protocol/batches"
)

// TestCheckpointOfFormerVersion: a lake of a version without consumers' checkpoints, with a backlog open in the middle,
// is read on from there: the lake and the consumers get each message once.
func TestCheckpointOfFormerVersion(t *testing.T) {
	b := newBench(t)
	k := b.maker
	for seq := uint64(1); seq <= 6; seq++ {
		k.send(b.up, seq)
	}
	known := ledger.New(ledger.Bounds{})
	l := openLake(t, b.dir)
	for _, seq := range []uint64{1, 2, 4} { // 3 waits for its turn, 5 and 6 are not read
		batch := decoded(t, k, seq)
		if err := l.Append(k.vehicle, "everything", "", start, k.schema, batch); err != nil {
			t.Fatal(err)
		}
		known.Receive(k.vehicle, k.id(seq), ledger.Receipt{Sequence: seq, Batch: true, Samples: 2 * rowsPerBatch})
	}
	checkpoint := append([]byte{2, 4, 1, 3, 0}, known.Snapshot()...) // version 2, read 4, one run, from 3, of one
	if err := l.Commit(3, 3, checkpoint); err != nil {
		t.Fatal(err)
	}
	s := &taker{}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	p, stop := b.start()
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got, want := s.list(), names("car1", 3, 5, 6); !slices.Equal(got, want) {
		t.Errorf("the consumer took %v, want %v", got, want)
	}
	count := stored(t, b.dir)
	for seq := uint64(1); seq <= 6; seq++ {
		if got := count["car1/"+k.id(seq).String()]; got != 2*rowsPerBatch {
			t.Errorf("batch %d: got %d rows, want %d", seq, got, 2*rowsPerBatch)
		}
	}
	last, snapshot := committed(t, b.dir)
	if last != 6 || !bytes.Equal(snapshot, p.Ledger().Snapshot()) {
		t.Errorf("checkpoint at %d, or it is not the ledger alone", last)
	}
	if files, _ := filepath.Glob(filepath.Join(b.dir, "date=*", "*.parquet")); len(files) < 2 {
		t.Errorf("got %d files", len(files))
	}
}

func decoded(t *testing.T, k *maker, seq uint64) *batches.Batch {
	t.Helper()
	b, err := batches.Decode(k.payload(seq), k.schema)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fullLake is a lake on a disk that is full until open is closed.
type fullLake struct {
	*lake.Lake
	open chan struct{}
}

func (l fullLake) Commit(last, next uint64, ledger []byte) error {
	select {
	case <-l.open:
		return l.Lake.Commit(last, next, ledger)
	default:
		return syscall.ENOSPC
	}
}

// TestLakeFull: while the lake's disk is full consumers get everything, also after a restart, each message
// once. Then the lake gets it all, what waits in memory and what has to be read again.
func TestLakeFull(t *testing.T) {
	b := newBench(t)
	s := &taker{}
	open := make(chan struct{})
	b.config = func(c *ingest.ProcessorConfig) {
		c.Lake, c.FlushRows = fullLake{c.Lake.(*lake.Lake), open}, 100
		c.Consumers = []ingest.Consumer{s.consumer("told")}
		c.FlushAge = 20 * time.Millisecond // of the consumers' checkpoints, too
	}
	k := b.maker
	const first, all, long = 30, 62, 360_000
	for seq := uint64(1); seq <= first; seq++ {
		k.send(b.up, seq)
	}
	p, stop := b.start()
	wait(t, "the consumer", func() bool { return len(s.list()) == first && p.Needed() == 0 && p.Stats().Waiting })
	if err := stop(); err == nil {
		t.Error("got no error of the last commit")
	}
	p, stop = b.start()
	b.up.Publish(k.message(k.values(first+1, long), k.id(first+1).String()), func(uint64, error) {}) // more than waits in memory
	for seq := uint64(first + 2); seq <= all; seq++ {
		k.send(b.up, seq)
		b.up.Publish(k.word(seq+100), func(uint64, error) {})
	}
	want := append(to(first+1), names2(first+2, all)...)
	wait(t, "the consumer", func() bool { return len(s.list()) == len(want) })
	if got := s.list(); !slices.Equal(got, names("car1", want...)) {
		t.Errorf("got %v, want %v", got, names("car1", want...))
	}
	if got := p.Checkpoint(); got != 0 {
		t.Errorf("the lake is at %d, want 0", got)
	}
	close(open)
	b.flush(p)
	if err := stop(); err != nil {
		t.Error(err)
	}
	count := stored(t, b.dir)
	for seq := uint64(1); seq <= all; seq++ {
		want := 2 * rowsPerBatch
		if seq == first+1 {
			want = long
		}
		if got := count["car1/"+k.id(seq).String()]; got != want {
			t.Errorf("batch %d: got %d rows, want %d", seq, got, want)
		}
	}
}

// TestSchemaGoneBeforeTheLake: a batch that waits for the lake, and whose schema is gone, keeps nobody else waiting;
// when the schema is back it comes into the lake, once.
func TestSchemaGoneBeforeTheLake(t *testing.T) {
	b := newBench(t)
	k := b.maker
	k.send(b.up, 1, 2)
	known := ledger.New(ledger.Bounds{})
	l := openLake(t, b.dir)
	if err := l.Append(k.vehicle, "everything", "", start, k.schema, decoded(t, k, 1)); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{1, 2} {
		known.Receive(k.vehicle, k.id(seq), ledger.Receipt{Sequence: seq, Batch: true, Samples: 2 * rowsPerBatch})
	}
	var open, waiting ledger.Ranges
	waiting.Add(ledger.Span{From: 2, To: 2})
	checkpoint := waiting.AppendTo(open.AppendTo([]byte{3, 2})) // version 3, read 2
	if err := l.Commit(1, 2, append(checkpoint, known.Snapshot()...)); err != nil {
		t.Fatal(err)
	}
	b.schemas.mu.Lock()
	doc := b.schemas.docs[k.hash.ID()]
	delete(b.schemas.docs, k.hash.ID())
	b.schemas.mu.Unlock()
	s := &taker{}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	p, stop := b.start()
	wait(t, "the batch to be missed", func() bool { return p.Stats().Waiting })
	const words = 50
	for seq := uint64(3); seq < 3+words; seq++ {
		b.up.Publish(k.word(seq), func(uint64, error) {})
	}
	began := time.Now()
	wait(t, "the words", func() bool { return len(s.list()) == words })
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the words took %v beside a batch that cannot be decoded", took)
	}
	if got := p.Checkpoint(); got != 1 {
		t.Errorf("the lake is at %d, want 1", got)
	}
	if err := b.schemas.PutSchema(t.Context(), k.hash, doc); err != nil {
		t.Fatal(err)
	}
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 2; seq++ {
		if got := stored(t, b.dir)["car1/"+k.id(seq).String()]; got != 2*rowsPerBatch {
			t.Errorf("batch %d: got %d rows, want %d", seq, got, 2*rowsPerBatch)
		}
	}
	if got := p.Checkpoint(); got != 2+words || p.Stats().Waiting {
		t.Errorf("the lake is at %d, want %d, and nothing waits", got, 2+words)
	}
}

// names2 are the sequences of batches from … to, each followed by that of a word.
func names2(from, to uint64) (list []uint64) {
	for seq := from; seq <= to; seq++ {
		list = append(list, seq, seq+100)
	}
	return list
}
