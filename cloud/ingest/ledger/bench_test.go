package ledger_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
)

const (
	fleetDevices = 10_000
	fleetBoots   = 100
	fleetActive  = 1000 // devices that send between two commits
	fleetBatches = 60   // each of them, every other one in this stream
)

func fleetID(device, boot int, seq uint64) (protocol.VehicleID, protocol.MessageID) {
	id := protocol.MessageID{Device: "tcu1", Seq: seq}
	for i := range id.Boot {
		id.Boot[i] = byte((uint64(device*fleetBoots+boot) * 0x9E3779B97F4A7C15) >> (8 * i))
	}
	return protocol.VehicleID(fmt.Sprintf("WVWZZZ1JZ3W%06d", device)), id
}

// fleet is the ledger of a part of many devices that started often, with a thousand messages of one start in this
// stream and the other in turn. It gives the stream's last sequence.
func fleet(tb testing.TB, part int) (l *ledger.Ledger, at uint64) {
	tb.Helper()
	l = ledger.New(ledger.Bounds{})
	for device := range fleetDevices / part {
		for boot := range fleetBoots {
			messages := uint64(3)
			if boot == fleetBoots-1 {
				messages = 1000
			}
			for n := range messages {
				vid, id := fleetID(device, boot, 1+2*n)
				at++
				l.Receive(vid, id, ledger.Receipt{Sequence: at, Bytes: 1000, Batch: true, Samples: 2000})
			}
		}
		if device%100 == 0 {
			l.Cut()
		}
	}
	l.Cut()
	return l, at
}

// send is what comes between two commits.
func send(l *ledger.Ledger, part, minute int, at uint64) uint64 {
	for n := range uint64(fleetBatches) {
		for i := range fleetActive / part {
			vid, id := fleetID((i*10+minute)%(fleetDevices/part), fleetBoots-1, 2001+2*(uint64(minute)*fleetBatches+n))
			at++
			l.Receive(vid, id, ledger.Receipt{Sequence: at, Bytes: 1000, Batch: true, Samples: 2000})
		}
	}
	return at
}

// BenchmarkCommit is what a commit costs for the ledger of a large fleet: the cut, and the lake's commit of it with
// its syncs, beside a fold when one is due. Bytes and time are those of the dearest commit.
func BenchmarkCommit(b *testing.B) {
	l, at := fleet(b, 1)
	files, err := lake.Open(lake.Config{Dir: b.TempDir(), Stream: "UP", Fold: ledger.Fold})
	if err != nil {
		b.Fatal(err)
	}
	if err := files.Commit(1, 2, l.Snapshot()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	size, minute, longest := 0, 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		at = send(l, 1, minute, at)
		minute++
		b.StartTimer()
		began := time.Now()
		cut := l.Cut()
		if err := files.Commit(at, at+1, cut); err != nil {
			b.Fatal(err)
		}
		size, longest = max(size, len(cut)), max(longest, time.Since(began))
	}
	if err := files.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size), "bytes")
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
}

// BenchmarkRestore is the start with a large fleet's ledger; its size in memory and in a snapshot.
func BenchmarkRestore(b *testing.B) {
	l, _ := fleet(b, 1)
	snapshot := l.Snapshot()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Restore(snapshot); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	var before, after runtime.MemStats
	l = nil
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	again := ledger.New(ledger.Bounds{})
	if err := again.Restore(snapshot); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(len(snapshot)), "bytes")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "heap-bytes")
	runtime.KeepAlive(again)
	runtime.KeepAlive(snapshot)
}

// BenchmarkFold joins a snapshot and an hour of cuts, as the lake does in the background.
func BenchmarkFold(b *testing.B) {
	l, at := fleet(b, 1)
	links := [][]byte{l.Snapshot()}
	for minute := range 60 {
		at = send(l, 1, minute, at)
		links = append(links, l.Cut())
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.Fold(links...); err != nil {
			b.Fatal(err)
		}
	}
}
