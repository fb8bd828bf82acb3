package buffer_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// realDir gives a directory on a real file system: below .cache of the
// repository, because a temporary directory may be in memory, or below
// TELLTALE_BENCH_DIR. Put that on a loop mount to compare with what really
// reaches the device (field 7 of /sys/block/loopN/stat, in sectors): newer
// kernels count whole large folios in write_bytes although they write
// only the dirty pages of them, so the figures here are a little too high.
func realDir(b *testing.B) string {
	b.Helper()
	root := filepath.Join("..", "..", ".cache")
	if d := os.Getenv("TELLTALE_BENCH_DIR"); d != "" {
		root = d
	}
	must(b, os.MkdirAll(root, 0o700))
	dir, err := os.MkdirTemp(root, "buffer-bench-")
	must(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// writtenBytes is what this process has caused to be written to block devices, by /proc/self/io.
func writtenBytes() (uint64, error) {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), "write_bytes: "); ok {
			return strconv.ParseUint(n, 10, 64)
		}
	}
	return 0, errors.New("no write_bytes in /proc/self/io")
}

// written runs f and gives the bytes that it wrote to block devices.
func written(b *testing.B, f func()) uint64 {
	b.Helper()
	before, err := writtenBytes()
	if err != nil {
		b.Skipf("no count of bytes written: %v", err)
	}
	f()
	after, err := writtenBytes()
	must(b, err)
	return after - before
}

// BenchmarkFlash appends batches as the agent does, one at a time, and
// acknowledges each as the link would, one behind. The factor is bytes written to
// the block device for each byte of payload: segments, accounts, names, everything.
func BenchmarkFlash(b *testing.B) {
	for _, size := range []int{65_536, 30_000, 4_000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			buf := open(b, buffer.Config{Dir: realDir(b)})
			r := record(protocol.CS1, 1, size)
			seq := uint64(0)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			bytes := written(b, func() {
				for b.Loop() {
					seq++
					ackOne(b, buf)
					r.ID.Seq = seq
					must(b, buf.Append([]buffer.Record{r}, progress(seq)))
				}
			})
			b.ReportMetric(float64(bytes)/float64(seq)/float64(size), "written/payload")
		})
	}
}

func ackOne(b *testing.B, buf *buffer.Buffer) {
	b.Helper()
	entries, err := buf.Read(buffer.Position{}, protocol.CS1, 1, 0)
	must(b, err)
	for _, e := range entries {
		buf.Ack(e.Position)
	}
}

// BenchmarkDrivenHour writes what an hour of driving writes: a record of 4 KB
// each minute and a checkpoint of the growing batch each 10 s in between.
func BenchmarkDrivenHour(b *testing.B) {
	const record4k = 4000
	buf := open(b, buffer.Config{Dir: realDir(b)})
	seq := uint64(0)
	hours := 0
	bytes := written(b, func() {
		for b.Loop() {
			hours++
			for range 60 {
				seq++
				ackOne(b, buf)
				for tens := 1; tens < 6; tens++ {
					must(b, buf.Checkpoint(record(protocol.CS1, seq, record4k*tens/6), progress(seq)))
				}
				must(b, buf.Append([]buffer.Record{record(protocol.CS1, seq, record4k)}, progress(seq)))
			}
		}
	})
	b.ReportMetric(float64(bytes)/float64(hours)/1e6, "MB-written/hour")
	b.ReportMetric(record4k*60/1e6, "MB-payload/hour")
}

// backlog fills a buffer with total bytes in records of size.
func backlog(b *testing.B, buf *buffer.Buffer, total, size int) {
	b.Helper()
	r := record(protocol.CS1, 1, size)
	for seq := uint64(0); seq < uint64(total/size); {
		var recs []buffer.Record
		for range min(100, 4<<20/size) {
			seq++
			r.ID.Seq = seq
			recs = append(recs, r)
		}
		must(b, buf.Append(recs, progress(seq)))
	}
}

// BenchmarkDrain reads and acknowledges a backlog of 100 MB after a restart, and
// measures what is left of the directory.
func BenchmarkDrain(b *testing.B) {
	for _, size := range []int{65_536, 4_000} {
		b.Run(fmt.Sprintf("record=%d", size), func(b *testing.B) {
			const total = 100 << 20
			var records, bytes int
			var spent, opening time.Duration
			var left int64
			for b.Loop() {
				c := buffer.Config{Dir: realDir(b)}
				buf := open(b, c)
				backlog(b, buf, total, size)
				must(b, buf.Close())
				start := time.Now()
				buf = open(b, c)
				opening += time.Since(start)
				start = time.Now()
				n, m := drain(b, buf)
				spent, records, bytes = spent+time.Since(start), records+n, bytes+m
				must(b, buf.Append([]buffer.Record{record(protocol.CS1, 1, 10)}, buffer.Progress{}))
				left = buf.Stats().DiskBytes
				must(b, buf.Close())
			}
			b.ReportMetric(float64(records)/spent.Seconds(), "records/s")
			b.ReportMetric(float64(bytes)/spent.Seconds()/1e6, "MB/s")
			b.ReportMetric(opening.Seconds()*1000/float64(b.N), "ms/open")
			b.ReportMetric(float64(left)/1000, "kB-left")
		})
	}
}

// drain reads everything in windows and acknowledges it.
func drain(b *testing.B, buf *buffer.Buffer) (records, bytes int) {
	b.Helper()
	var after buffer.Position
	for {
		entries, err := buf.Read(after, protocol.CS1, 64, 1<<20)
		must(b, err)
		if len(entries) == 0 {
			return records, bytes
		}
		for _, e := range entries {
			records, bytes = records+1, bytes+len(e.Record.Payload)
			buf.Ack(e.Position)
			after = e.Position
		}
	}
}

// BenchmarkGroupCommit appends small records from many goroutines.
func BenchmarkGroupCommit(b *testing.B) {
	buf := open(b, buffer.Config{Dir: realDir(b)})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		r := record(protocol.CS4, 1, 500)
		for pb.Next() {
			if err := buf.Append([]buffer.Record{r}, buffer.Progress{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	st := buf.Stats()
	b.ReportMetric(float64(st.Appended)/float64(st.Commits), "records/commit")
}
