package link_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link"
	"telltale.dev/protocol"
)

// The real buffer, on disk, over two boots and a link that breaks again and again.
func TestDrainsTheRealBuffer(t *testing.T) {
	t.Parallel()
	const records = 200
	dir := t.TempDir()
	open := func() *buffer.Buffer {
		b, err := buffer.Open(buffer.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	add := func(b *buffer.Buffer, from, to uint64) {
		for seq := from; seq < to; seq++ {
			rec := buffer.Record{
				Topic: "v1/veh-1/up/telemetry/all", Priority: protocol.CS3, ID: protocol.MessageID{Device: did, Boot: boot, Seq: seq},
				Created: time.Now(), TTL: time.Hour, Payload: bytes.Repeat([]byte{byte(seq)}, 1000),
			}
			if seq%3 == 0 {
				rec.Priority = protocol.CS0
			}
			if err := b.Append([]buffer.Record{rec}, buffer.Progress{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := open()
	add(b, 1, records/2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	s := serve(t, &server{}, nil)
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints, c.Buffer = []string{"mqtt://" + s.addr}, b })
	add(b, records/2, records*3/4)
	s.cut()
	add(b, records*3/4, records+1)
	eventually(t, "buffer is empty", func() bool { return b.Stats().Waiting.Records == 0 })
	r.stop()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, p := range s.received() {
		if id := p.user["id"]; id != "" {
			seen[id] = true
		}
	}
	if len(seen) != records {
		t.Errorf("records that arrived: got %d, want %d", len(seen), records)
	}
}
