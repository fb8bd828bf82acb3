package ingest_test

import (
	"maps"
	"os"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// upgradeStream is what the lake in testdata was made of, and more that came later: a vehicle that alternates
// between the streams, evicts and repeats, so much of it that another's messages are done before its own.
func upgradeStream(k *maker, s *memory) {
	other := *k
	other.vehicle = "car2"
	for seq := uint64(1); seq <= 900; seq += 2 {
		payload := k.payload(seq, func(h *batches.Header) {
			if seq%151 == 0 {
				h.Evicted = []protocol.SeqRange{{Boot: protocol.BootID{9}, From: seq, To: seq + 3}, {Boot: k.boot, From: seq + 1, To: seq + 1}}
			}
		})
		if seq%101 == 0 {
			payload = payload[:len(payload)/2]
		}
		s.Publish(k.message(payload, k.id(seq).String()), func(uint64, error) {})
		if seq%51 == 0 {
			s.Publish(k.message(payload, k.id(seq).String()), func(uint64, error) {})
		}
		if seq%45 == 0 {
			other.send(s, seq)
		}
	}
}

// TestUpgrade goes on with a lake of the version before, whose last commit left messages of one vehicle open that
// came before others that were done: in the end all is as if this version had done everything.
func TestUpgrade(t *testing.T) {
	whole := newBench(t)
	upgradeStream(whole.maker, whole.up)
	p, _ := whole.start()
	whole.flush(p)
	want, accounts := stored(t, whole.dir), p.Accounts("")

	b := newBench(t)
	upgradeStream(b.maker, b.up)
	if err := os.CopyFS(b.dir, os.DirFS("testdata/version1")); err != nil {
		t.Fatal(err)
	}
	p, stop := b.start()
	if got := p.Checkpoint(); got != 153 {
		t.Errorf("checkpoint: got %d, want 153", got)
	}
	b.flush(p)
	for range 2 {
		if got := stored(t, b.dir); !maps.Equal(got, want) {
			t.Errorf("got rows of %d batches, want %d", len(got), len(want))
		}
		checkAccounts(t, p.Accounts(""), accounts)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p, stop = b.start() // from the old base and what was added to it
	}
}
