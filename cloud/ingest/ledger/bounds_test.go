package ledger_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
)

// TestVehicleCost: whatever a vehicle with as many devices as it may have sends, the bytes of a cut, of a snapshot and
// of memory that it costs stay within what the package comment says, and another vehicle is remembered as before.
func TestVehicleCost(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine: nothing for the race detector, under which it is slow")
	}
	const (
		devices  = 64
		mostFile = 5 << 20
		mostHeap = 24 << 20
	)
	anyBoot := func(r *rand.Rand) (id protocol.BootID) {
		binary.BigEndian.PutUint64(id[:], r.Uint64())
		return id
	}
	tests := map[string]struct {
		messages int
		make     func(r *rand.Rand, n int, id *protocol.MessageID) []protocol.SeqRange
	}{
		"random sequences": {400_000, func(r *rand.Rand, _ int, id *protocol.MessageID) []protocol.SeqRange {
			id.Seq = 1 + r.Uint64N(1<<63-1)
			return nil
		}},
		"random sequences of one start": {300_000, func(r *rand.Rand, _ int, id *protocol.MessageID) []protocol.SeqRange {
			id.Device, id.Seq = "tcu0", 1+r.Uint64N(1<<63-1)
			return nil
		}},
		"starts without end": {100_000, func(r *rand.Rand, _ int, id *protocol.MessageID) []protocol.SeqRange {
			id.Boot = anyBoot(r)
			return nil
		}},
		"declared starts without end": {400, func(r *rand.Rand, _ int, _ *protocol.MessageID) (list []protocol.SeqRange) {
			for range 1024 {
				list = append(list, protocol.SeqRange{Boot: anyBoot(r), From: 1 + r.Uint64N(1<<62), To: 1 << 62})
			}
			return list
		}},
		"declared ranges at random": {800, func(r *rand.Rand, _ int, _ *protocol.MessageID) (list []protocol.SeqRange) {
			for range 1024 {
				from := 1 + r.Uint64N(1<<62)
				list = append(list, protocol.SeqRange{Boot: protocol.BootID{byte(r.IntN(8))}, From: from, To: from + r.Uint64N(300)})
			}
			return list
		}},
		"ragged in the worst way": {1_000_000, func(_ *rand.Rand, n int, id *protocol.MessageID) []protocol.SeqRange {
			id.Device, id.Seq = protocol.DeviceID(fmt.Sprint("tcu", n%4)), 1+uint64(n/8)*32+uint64(n/4%2)*3
			return nil
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			l := ledger.New(ledger.Bounds{})
			neighbour := id(1, 1)
			l.Receive("other", neighbour, ledger.Receipt{Sequence: 1})
			r := rand.New(rand.NewPCG(3, 4))
			mostCut := 0
			for n := range tt.messages {
				id := protocol.MessageID{Device: protocol.DeviceID(fmt.Sprint("tcu", r.IntN(devices))), Boot: protocol.BootID{1}, Seq: uint64(n + 1)}
				evicted := tt.make(r, n, &id)
				if l.Check(vid, id) == ledger.Unseen {
					l.Receive(vid, id, ledger.Receipt{Sequence: uint64(n + 2), Batch: true, Samples: 9, Bytes: 99, Evicted: evicted})
				}
				if n == tt.messages/2 { // the vehicle sends all the rest between two commits
					l.Cut()
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			mostCut = len(l.Cut())
			size := len(l.Snapshot())
			heap := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			t.Logf("cut %d bytes, snapshot %d, heap %d", mostCut, size, heap)
			if mostCut > mostFile || size > mostFile || heap > mostHeap {
				t.Errorf("cut of %d bytes, snapshot of %d, heap of %d; want at most %d and %d", mostCut, size, heap, mostFile, mostHeap)
			}
			if got := l.Check("other", neighbour); got != ledger.Duplicate {
				t.Errorf("the neighbour's message: got verdict %d, want Duplicate", got)
			}
		})
	}
}

// TestFleetBytes is a tenth of the fleet that the benchmarks use: what a commit adds, and what all takes.
func TestFleetBytes(t *testing.T) {
	const part = 10
	l, at := fleet(t, part)
	snapshot := len(l.Snapshot())
	send(l, part, 0, at)
	cut := len(l.Cut())
	t.Logf("%d devices: %d bytes; %d of them sent %d batches each: %d bytes", fleetDevices/part, snapshot, fleetActive/part, fleetBatches, cut)
	if most := 36 * fleetDevices / part * fleetBoots; snapshot > most {
		t.Errorf("snapshot: got %d bytes, want at most %d", snapshot, most)
	}
	if most := 90 * fleetActive / part; cut > most { // 1 MB would be 1,000 a device
		t.Errorf("cut: got %d bytes, want at most %d", cut, most)
	}
}
