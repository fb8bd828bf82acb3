package buffer_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// unpack gives a directory with the files of an archive.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := memoryDir(t)
	f, err := os.Open(filepath.Join("testdata", archive))
	must(t, err)
	defer f.Close() //nolint:errcheck // only read
	z, err := gzip.NewReader(f)
	must(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), data, 0o600))
	}
}

// version1 is what testdata/version1.tar.gz holds: an agent of format version 1 left records of all classes, an
// open batch, an acknowledged and an expired record, and accounts of two boots, and was killed.
var version1 = map[protocol.Priority][]uint64{
	protocol.CS0: {1, 2, 3}, protocol.CS1: {101, 4, 5, 6, 22, 23, 24}, protocol.CS2: {7, 8, 9, 25}, protocol.CS3: {10, 11},
	protocol.CS4: {13, 14, 15}, protocol.CS5: {17, 18}, protocol.CS6: {19, 20, 21},
}

// checkVersion1 checks that all of it is there and as it was written, and gives the number of records.
func checkVersion1(t *testing.T, b *buffer.Buffer) (n int) {
	t.Helper()
	for class, want := range version1 {
		wantSeqs(t, seqs(t, b, class), want)
		for _, e := range all(t, b, class) {
			seq := e.Record.ID.Seq
			bytes, boot := int(seq)*40, boot1
			switch {
			case seq == 101:
				bytes, boot = 500, bootNumber(0)
			case seq == 25:
				bytes = 2000
			case seq > 21:
				bytes = 3000
			}
			want := bootRecord(boot, class, seq, bytes)
			want.Ordered = class == protocol.CS4
			wantRecord(t, e.Record, want)
			n++
		}
	}
	boots := b.Boots()
	if len(boots) != 2 || boots[0].NextSeq != 102 || boots[1].NextSeq != 26 {
		t.Errorf("got %+v, want boots that come to 102 and 26", boots)
	}
	if got := b.PendingEvicted(); len(got) != 1 || got[0].From != 16 || got[0].To != 16 {
		t.Errorf("got %v, want sequence 16", got)
	}
	return n
}

// TestFormerVersion opens what an agent of format version 1 has left: nothing is lost, also when the new one appends to it and
// crashes, purges, or is started again.
func TestFormerVersion(t *testing.T) {
	dir := unpack(t, "version1.tar.gz")
	must(t, os.WriteFile(filepath.Join(dir, "LOCK"), nil, 0o600))
	report, err := buffer.Inspect(dir)
	must(t, err)
	c := buffer.Config{Dir: dir, MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	n := checkVersion1(t, b)
	if int(report.Waiting.Records) != n {
		t.Errorf("Inspect says %d records, want %d", report.Waiting.Records, n)
	}
	text, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if must(t, err); string(text) != "telltale-buffer 2\n" {
		t.Errorf("got %q, want version 2", text)
	}
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 26, 100)}, progress(26)))
	c.Dir = copyDir(t, dir)
	must(t, b.Close())
	b = open(t, c)
	wantSeqs(t, seqs(t, b, protocol.CS1), append(slices.Clone(version1[protocol.CS1]), 26))
	wantPurged(t, b, "product-improvement", uint64(n)+1)
	if st := b.Stats(); st.PurgedRecords != uint64(n)+1 || st.Waiting.Records != 0 {
		t.Errorf("got %+v, want all purged", st)
	}
	must(t, b.Close())
}

// TestOnTrial: a program on trial leaves a directory of the former version as one, and makes a new one so; the first start
// without trial makes it one of this version, and nothing is lost at any of these steps.
func TestOnTrial(t *testing.T) {
	version := func(dir, want string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "VERSION"))
		if must(t, err); string(text) != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
	old, fresh := unpack(t, "version1.tar.gz"), filepath.Join(t.TempDir(), "fresh")
	must(t, os.WriteFile(filepath.Join(old, "LOCK"), nil, 0o600))
	for dir, before := range map[string][]uint64{old: version1[protocol.CS1], fresh: nil} {
		c := buffer.Config{Dir: dir, MaxBytes: 1 << 20, SegmentBytes: 64 << 10, OnTrial: true}
		timed := record(protocol.CS1, 26, 100)
		timed.TimeQuality = batches.TimeGNSS
		b := open(t, c)
		must(t, b.Append([]buffer.Record{timed}, progress(26)))
		must(t, b.Checkpoint(record(protocol.CS1, 27, 100), progress(27)))
		must(t, b.Close())
		version(dir, "telltale-buffer 1\n")
		b = open(t, c)
		list := all(t, b, protocol.CS1)
		wantSeqs(t, seqs(t, b, protocol.CS1), append(slices.Clone(before), 26, 27))
		if r := list[len(list)-2].Record; r.TimeQuality != 0 || len(r.Payload) != 100 {
			t.Errorf("got %+v, want a record of the former form", r)
		}
		must(t, b.Close())
		c.OnTrial = false
		b = open(t, c)
		must(t, b.Append([]buffer.Record{record(protocol.CS1, 28, 100)}, progress(28)))
		must(t, b.Close())
		version(dir, "telltale-buffer 2\n")
		b = open(t, c)
		wantSeqs(t, seqs(t, b, protocol.CS1), append(slices.Clone(before), 26, 27, 28))
		must(t, b.Close())
	}
}

// TestRecordFields: what version 2 has room for comes back, and costs nothing when it is not there.
func TestRecordFields(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t)}
	b := open(t, c)
	plain, full := record(protocol.CS1, 1, 100), record(protocol.CS1, 2, 100)
	full.TimeQuality = batches.TimeGNSS
	full.Seal = buffer.Seal{Nonce: []byte("twelve bytes"), Tag: []byte("sixteen bytes tag")}
	if got := len(buffer.AppendHeader(nil, &full)) - len(buffer.AppendHeader(nil, &plain)); got != 1+1+12+1+17 {
		t.Errorf("the fields cost %d bytes", got)
	}
	must(t, b.Append([]buffer.Record{plain}, progress(1)))
	must(t, b.Checkpoint(full, progress(2)))
	c.Dir = copyDir(t, c.Dir)
	b = open(t, c)
	list := all(t, b, protocol.CS1)
	if len(list) != 2 {
		t.Fatalf("got %d records, want 2", len(list))
	}
	wantRecord(t, list[0].Record, plain)
	wantRecord(t, list[1].Record, full)
}

// TestBoundToPosition: a record is right in its place only.
func TestBoundToPosition(t *testing.T) {
	r := record(protocol.CS1, 1, 3000)
	chunks := buffer.EncodeRecord(&r)
	if _, err := buffer.DecodeRecord(chunks); err != nil {
		t.Fatal(err)
	}
	if _, err := buffer.DecodeElsewhere(chunks); err == nil {
		t.Error("a record in another place is taken for one of that place")
	}
}
