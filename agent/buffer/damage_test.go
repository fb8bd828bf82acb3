package buffer_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// damagedDir makes a buffer with three segments of CS1 and one of CS4 and
// gives its directory and the segment in the middle.
func damagedDir(t *testing.T) (dir, victim string, last uint64) {
	t.Helper()
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	for seq := uint64(1); seq <= 27; seq++ {
		class := protocol.CS1
		if seq%9 == 0 {
			class = protocol.CS4
		}
		must(t, b.Append([]buffer.Record{record(class, seq, 7000)}, progress(seq)))
	}
	must(t, b.Close())
	return c.Dir, "cs1-00000002.seg", 27
}

// checkDamaged opens a damaged directory: nothing dies, what is delivered is
// intact and in order, the rest is declared or at least reported, and the
// buffer works on, also after a restart.
func checkDamaged(t *testing.T, dir string, last uint64) (declared int) {
	t.Helper()
	c := buffer.Config{Dir: dir, MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b, err := buffer.Open(c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for range 2 {
		have := map[uint64]bool{}
		for _, class := range b.Classes() {
			got := seqs(t, b, class)
			if !slices.IsSorted(got) {
				t.Fatalf("%s is out of order: %v", class, got)
			}
			for _, e := range all(t, b, class) {
				wantRecord(t, e.Record, record(class, e.Record.ID.Seq, len(e.Record.Payload)))
				have[e.Record.ID.Seq] = true
			}
		}
		declared = 0
		for _, r := range b.PendingEvicted() {
			for s := r.From; s <= r.To; s++ {
				if have[s] {
					t.Fatalf("sequence %d is delivered and declared lost", s)
				}
				have[s] = true
				declared++
			}
		}
		st := b.Stats()
		if missing := int(last) - len(have); (missing > 0 || declared > 0) && st.SetAside == 0 && st.LostRecords == 0 && st.Damaged == 0 {
			t.Fatalf("%d missing, %d declared, nothing reported", missing, declared)
		}
		must(t, b.Append([]buffer.Record{record(protocol.CS2, 1000, 10)}, buffer.Progress{}))
		must(t, b.Close())
		b, err = buffer.Open(c)
		must(t, err)
		wantSeqs(t, seqs(t, b, protocol.CS2)[:1], []uint64{1000})
		for _, e := range all(t, b, protocol.CS2) {
			b.Ack(e.Position)
		}
	}
	must(t, b.Close())
	return declared
}

func TestDamagedSegment(t *testing.T) {
	dir, victim, last := damagedDir(t)
	data, err := os.ReadFile(filepath.Join(dir, victim))
	must(t, err)
	used := len(bytes.TrimRight(data, "\x00"))
	rnd := rand.New(rand.NewPCG(1, 2))
	var places []int
	for i := range 3 * 4096 / 16 { // headers of the meta pages and the first page
		if i%256 < 6 || i%32 == 0 {
			places = append(places, i*16+rnd.IntN(16))
		}
	}
	for at := 3 * 4096; at < used; at += 4096 { // page headers and elements
		places = append(places, at+rnd.IntN(16), at+16+rnd.IntN(80))
	}
	for range 100 {
		places = append(places, rnd.IntN(used))
	}
	declared := 0
	for _, at := range places {
		broken := bytes.Clone(data)
		broken[at] ^= 1 << rnd.IntN(8)
		declared += withFile(t, dir, victim, broken, fmt.Sprintf("flip at %d", at), last)
	}
	for _, n := range []int{0, 1, 100, 4096, 8192, 12288, 16384, 40_000, used / 2, used - 1, used - 5000} {
		declared += withFile(t, dir, victim, data[:n], fmt.Sprintf("cut at %d", n), last)
	}
	for _, n := range []int{1, 4, 10} {
		broken := bytes.Clone(data)
		for range n {
			at := 4096 * rnd.IntN(used/4096)
			_, _ = rand.NewChaCha8([32]byte{byte(at)}).Read(broken[at : at+4096])
		}
		declared += withFile(t, dir, victim, broken, fmt.Sprintf("%d pages of noise", n), last)
	}
	if declared == 0 {
		t.Error("no damage was declared")
	}
}

func withFile(t *testing.T, dir, name string, data []byte, what string, last uint64) (declared int) {
	t.Helper()
	to := copyDir(t, dir)
	must(t, os.WriteFile(filepath.Join(to, name), data, 0o600))
	ok := t.Run(what, func(t *testing.T) { declared = checkDamaged(t, to, last) })
	if !ok {
		t.Fatalf("damage: %s", what)
	}
	must(t, os.RemoveAll(to))
	return declared
}

// TestDamageWhileRunning damages a payload under an open buffer.
func TestDamageWhileRunning(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	for seq := uint64(1); seq <= 30; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 7000)}, progress(seq)))
	}
	path := filepath.Join(c.Dir, "cs1-00000001.seg")
	data, err := os.ReadFile(path)
	must(t, err)
	at := bytes.Index(data, record(protocol.CS1, 3, 7000).Payload[2000:2100])
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{data[at] ^ 1}, int64(at))
	must(t, err)
	must(t, f.Close())
	want := append([]uint64{1, 2}, sequence(4, 30)...)
	wantSeqs(t, seqs(t, b, protocol.CS1), want)
	if got := fmt.Sprint(b.PendingEvicted()); got != fmt.Sprint([]protocol.SeqRange{{Boot: boot1, From: 3, To: 3}}) {
		t.Errorf("pending: got %s, want sequence 3", got)
	}
	if st := b.Stats(); st.LostRecords != 1 || st.LostSamples != 10 {
		t.Errorf("lost: got %d records with %d samples, want 1 with 10", st.LostRecords, st.LostSamples)
	}
	for _, e := range all(t, b, protocol.CS1) {
		b.Ack(e.Position)
	}
	must(t, b.Close())
	names, err := filepath.Glob(filepath.Join(c.Dir, "*"))
	must(t, err)
	if got := strings.Join(names, " "); !strings.Contains(got, "cs1-00000001.seg.corrupt") {
		t.Errorf("the damaged segment was not set aside: %s", got)
	}
}
