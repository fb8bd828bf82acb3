package buffer_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// The test binary is also the child process of some tests: envChild says which.
const (
	envChild = "TELLTALE_BUFFER_CHILD"
	envDir   = "TELLTALE_BUFFER_DIR"
	envBoot  = "TELLTALE_BUFFER_BOOT"
)

func TestMain(m *testing.M) {
	children := map[string]func() error{"append": childAppend, "full": childFull, "hold": childHold, "purge": childPurge}
	if child, ok := children[os.Getenv(envChild)]; ok {
		if err := child(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func childCommand(t testing.TB, child, dir string, boot int) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+child, envDir+"="+dir, envBoot+"="+strconv.Itoa(boot))
	cmd.Stderr = os.Stderr
	return cmd
}

func bootNumber(n int) (id protocol.BootID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

// childAppend commits until it is killed: records of two classes and a
// checkpoint, which every fifth time is closed into its record. It prints
// the number of each commit that returned.
func childAppend() error {
	n, _ := strconv.Atoi(os.Getenv(envBoot))
	boot := bootNumber(n)
	b, err := buffer.Open(buffer.Config{Dir: os.Getenv(envDir), MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	open := uint64(0)
	seq := uint64(0)
	for round := 1; ; round++ {
		var appends, checkpoints []buffer.Record
		for range 1 + rnd.IntN(3) {
			seq++
			class := []protocol.Priority{protocol.CS1, protocol.CS4}[rnd.IntN(2)]
			appends = append(appends, bootRecord(boot, class, seq, rnd.IntN(9000)))
		}
		if open == 0 {
			seq++
			open = seq
		}
		if r := bootRecord(boot, protocol.CS2, open, rnd.IntN(3000)); round%5 == 0 {
			appends, open = append(appends, r), 0
		} else {
			checkpoints = append(checkpoints, r)
		}
		if err := b.Commit(appends, checkpoints, bootProgress(boot, seq)); err != nil {
			return err
		}
		fmt.Println("seq", seq)
	}
}

// TestKilledChild kills a process that appends, 20 times at a random moment.
// Everything whose commit returned is there, in order, once; what is there
// beyond it is at most one commit, as a whole; and the account is exact.
func TestKilledChild(t *testing.T) {
	dir := t.TempDir()
	total, acked := map[protocol.BootID]uint64{}, map[protocol.MessageID]bool{}
	for n := range 20 {
		returned := killChild(t, dir, n)
		report, err := buffer.Inspect(dir)
		must(t, err)
		b := open(t, buffer.Config{Dir: dir, MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
		boots := b.Boots()
		if len(boots) == 0 || boots[len(boots)-1].Boot != bootNumber(n) {
			if returned > 0 {
				t.Fatalf("round %d: no account of the boot, %d returned", n, returned)
			}
			must(t, b.Close())
			continue
		}
		last := boots[len(boots)-1].NextSeq - 1
		if last < returned || last > returned+4 {
			t.Fatalf("round %d: the account says %d, %d returned", n, last, returned)
		}
		total[bootNumber(n)] = last
		checkComplete(t, b, total, acked)
		if got, want := b.Stats().Waiting, report.Waiting; got != want {
			t.Fatalf("round %d: waiting: got %+v, Inspect said %+v", n, got, want)
		}
		ackSome(t, b, acked)
		must(t, b.Close())
	}
}

// killChild runs a child, kills it, and gives the last sequence that it reported.
func killChild(t *testing.T, dir string, n int) (returned uint64) {
	t.Helper()
	cmd := childCommand(t, "append", dir, n)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	timer := time.AfterFunc(time.Hour, func() {})
	for lines.Scan() {
		seq, ok := strings.CutPrefix(lines.Text(), "seq ")
		if !ok {
			t.Fatalf("child says %q", lines.Text())
		}
		if returned == 0 {
			timer = time.AfterFunc(time.Duration(rand.IntN(80_000))*time.Microsecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		}
		returned, err = strconv.ParseUint(seq, 10, 64)
		must(t, err)
	}
	timer.Stop()
	_ = cmd.Wait()
	return returned
}

// checkComplete checks that all sequences of all boots are there once, intact,
// and in order within their class, except for those acknowledged.
func checkComplete(t *testing.T, b *buffer.Buffer, total map[protocol.BootID]uint64, acked map[protocol.MessageID]bool) {
	t.Helper()
	seen := map[protocol.MessageID]bool{}
	for _, class := range b.Classes() {
		var before protocol.MessageID
		for _, e := range all(t, b, class) {
			id := e.Record.ID
			if seen[id] || acked[id] {
				t.Fatalf("%s comes again", id)
			}
			seen[id] = true
			if id.Boot == before.Boot && id.Seq <= before.Seq {
				t.Fatalf("%s comes after %s", id, before)
			}
			before = id
			wantRecord(t, e.Record, bootRecord(id.Boot, class, id.Seq, len(e.Record.Payload)))
		}
	}
	for boot, last := range total {
		for seq := uint64(1); seq <= last; seq++ {
			if id := (protocol.MessageID{Device: "tcu", Boot: boot, Seq: seq}); !seen[id] && !acked[id] {
				t.Fatalf("%s of 1 to %d is lost", id, last)
			}
		}
	}
}

// ackSome acknowledges about half of what waits, in any order.
func ackSome(t *testing.T, b *buffer.Buffer, acked map[protocol.MessageID]bool) {
	t.Helper()
	var entries []buffer.Entry
	for _, class := range b.Classes() {
		entries = append(entries, all(t, b, class)...)
	}
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	for _, e := range entries[:len(entries)/2] {
		acked[e.Record.ID] = true
		b.Ack(e.Position)
	}
}

// TestPowerCut makes the files that a power cut can leave of one commit: any
// of the data pages before the first sync, then all of them with the meta
// page torn, then all. The commit is there as a whole or not at all.
func TestPowerCut(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), SegmentBytes: 128 << 10}
	b := open(t, c)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10_000), record(protocol.CS1, 2, 300)}, progress(2)))
	before := readPages(t, c.Dir)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 3, 20_000)}, progress(3)))
	after := readPages(t, c.Dir)
	must(t, b.Close())

	var data, meta []int
	for i := range after {
		if slices.Equal(before[i], after[i]) {
			continue
		}
		if i < 2 {
			meta = append(meta, i)
		} else {
			data = append(data, i)
		}
	}
	if len(data) < 5 || len(meta) != 1 {
		t.Fatalf("a commit changed %d data and %d meta pages", len(data), len(meta))
	}
	check := func(name string, pages [][]byte, want string) {
		t.Helper()
		dir := memoryDir(t)
		must(t, os.WriteFile(dir+"/VERSION", []byte("telltale-buffer 2\n"), 0o600))
		must(t, os.WriteFile(dir+"/cs1-00000001.seg", slices.Concat(pages...), 0o600))
		b := open(t, buffer.Config{Dir: dir})
		if got := observe(t, b); got != want || b.Stats().SetAside > 0 {
			t.Errorf("%s: got %s with %d set aside, want %s", name, got, b.Stats().SetAside, want)
		}
		must(t, b.Close())
	}
	for round := range 20 {
		pages := slices.Clone(before)
		for _, i := range data {
			if rand.IntN(2) == 0 {
				pages[i] = after[i]
			}
		}
		check(fmt.Sprintf("some data pages %d", round), pages, "CS1[1 2] last 2")
	}
	pages := slices.Clone(after)
	pages[meta[0]] = slices.Concat(after[meta[0]][:64], before[meta[0]][64:])
	check("torn meta page", pages, "CS1[1 2] last 2")
	check("complete", after, "CS1[1 2 3] last 3")
}

// readPages reads the only segment as pages.
func readPages(t *testing.T, dir string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(dir + "/cs1-00000001.seg")
	must(t, err)
	return slices.Collect(slices.Chunk(data, 4096))
}
