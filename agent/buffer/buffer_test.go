package buffer_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

var boot1 = protocol.BootID{1, 2, 3, 4, 5, 6, 7, 8}

// record makes record seq of a class, with a payload of n bytes that depends on seq.
func record(class protocol.Priority, seq uint64, n int) buffer.Record {
	return bootRecord(boot1, class, seq, n)
}

func bootRecord(boot protocol.BootID, class protocol.Priority, seq uint64, n int) buffer.Record {
	payload := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seq), byte(seq >> 8), byte(seq >> 16)})
	_, _ = src.Read(payload)
	return buffer.Record{
		Topic: "v1/car/up/telemetry/c" + class.String(), ContentType: protocol.ContentTelemetry, Priority: class,
		ID:     protocol.MessageID{Device: "tcu", Boot: boot, Seq: seq},
		Schema: protocol.SchemaHash{9}, Purpose: "product-improvement", Samples: 10,
		First: int64(seq) * 1000, Last: int64(seq)*1000 + 999, Created: time.UnixMicro(1_700_000_000_000_000 + int64(seq)).UTC(),
		TTL: time.Hour, Payload: payload,
	}
}

func progress(seq uint64) buffer.Progress { return bootProgress(boot1, seq) }

func bootProgress(boot protocol.BootID, seq uint64) buffer.Progress {
	return buffer.Progress{Boot: boot, Received: seq * 100, Decoded: seq * 99, Unknown: seq, Samples: seq * 10, NextSeq: seq + 1}
}

func open(t testing.TB, c buffer.Config) *buffer.Buffer {
	t.Helper()
	b, err := buffer.Open(c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// all reads the class from the oldest on in small steps.
func all(t testing.TB, b *buffer.Buffer, class protocol.Priority) []buffer.Entry {
	t.Helper()
	var list []buffer.Entry
	var after buffer.Position
	for {
		entries, err := b.Read(after, class, 3, 0)
		must(t, err)
		if len(entries) == 0 {
			return list
		}
		list = append(list, entries...)
		after = entries[len(entries)-1].Position
	}
}

// seqs gives the sequences waiting in a class.
func seqs(t testing.TB, b *buffer.Buffer, class protocol.Priority) []uint64 {
	t.Helper()
	var list []uint64
	for _, e := range all(t, b, class) {
		list = append(list, e.Record.ID.Seq)
	}
	return list
}

func sequence(from, to uint64) []uint64 {
	var list []uint64
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func wantSeqs(t testing.TB, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("sequences: got %v, want %v", got, want)
	}
}

func wantRecord(t testing.TB, got, want buffer.Record) {
	t.Helper()
	if !bytes.Equal(got.Payload, want.Payload) {
		t.Fatalf("payload of %s differs", want.ID)
	}
	got.Payload, want.Payload = nil, nil
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("record:\ngot  %s\nwant %s", g, w)
	}
}

func TestAppendReadAckRestart(t *testing.T) {
	c := buffer.Config{Dir: t.TempDir()}
	b := open(t, c)
	sizes := []int{0, 1, 700, 789, 790, 791, 5000, 30_000, 65_536, buffer.MaxPayload}
	for i, n := range sizes {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, uint64(i+1), n)}, progress(uint64(i+1))))
	}
	check := func(b *buffer.Buffer) {
		t.Helper()
		entries := all(t, b, protocol.CS1)
		if len(entries) != len(sizes) {
			t.Fatalf("got %d records, want %d", len(entries), len(sizes))
		}
		for i, e := range entries {
			wantRecord(t, e.Record, record(protocol.CS1, uint64(i+1), sizes[i]))
		}
	}
	check(b)
	must(t, b.Close())
	b = open(t, c)
	check(b)
	if got, want := b.Boots(), []buffer.Progress{progress(uint64(len(sizes)))}; !reflect.DeepEqual(got, want) {
		t.Fatalf("boots: got %v, want %v", got, want)
	}
	for i, e := range all(t, b, protocol.CS1) {
		if i%2 == 1 {
			b.Ack(e.Position)
		}
	}
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 3, 5, 7, 9})
	must(t, b.Close())
	b = open(t, c)
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 3, 5, 7, 9})
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 11, 10)}, progress(11)))
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 3, 5, 7, 9, 11})
}
