package buffer_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

var errInjected = errors.New("injected")

// step is one commit of the fault table's scenario.
type step struct {
	appends, checkpoints []buffer.Record
	ack                  []uint64 // sequences acknowledged before the commit
	last                 uint64   // Progress is progress(last)
}

// scenario touches one class, two at once, old and new segments, and
// checkpoints that are replaced, superseded and carried into a new segment.
func scenario() []step {
	r := record
	const kb = 1000
	return []step{
		{appends: []buffer.Record{r(protocol.CS1, 1, 30*kb), r(protocol.CS1, 2, 100)}, last: 2},
		{checkpoints: []buffer.Record{r(protocol.CS1, 3, 2*kb)}, last: 3},
		{checkpoints: []buffer.Record{r(protocol.CS1, 3, 5*kb), r(protocol.CS4, 4, 900)}, last: 4},
		{appends: []buffer.Record{r(protocol.CS4, 5, 10)}, last: 5},
		{appends: []buffer.Record{r(protocol.CS1, 3, 9*kb), r(protocol.CS4, 6, 20)}, last: 6, ack: []uint64{1, 2}},
		{checkpoints: []buffer.Record{r(protocol.CS1, 7, 3*kb)}, appends: []buffer.Record{r(protocol.CS6, 8, 10)}, last: 8},
		{appends: []buffer.Record{r(protocol.CS1, 9, 60*kb), r(protocol.CS4, 4, 1000)}, last: 9},
		{appends: []buffer.Record{r(protocol.CS1, 10, 60*kb), r(protocol.CS4, 11, 60*kb)}, last: 11, ack: []uint64{3}},
		{appends: []buffer.Record{r(protocol.CS1, 12, 10), r(protocol.CS4, 13, 60*kb), r(protocol.CS6, 14, 1)}, last: 14},
		{appends: []buffer.Record{r(protocol.CS1, 7, 100), r(protocol.CS4, 15, 10)}, ack: []uint64{9, 10, 4, 11}, last: 15},
		{appends: []buffer.Record{r(protocol.CS0, 16, 100)}, last: 16},
	}
}

// model is what the buffer should hold.
type model struct {
	waiting     map[protocol.Priority][]uint64
	checkpoints map[protocol.Priority]uint64 // in the scenario: one subject for each class
	last        uint64
}

func newModel() *model {
	return &model{waiting: map[protocol.Priority][]uint64{}, checkpoints: map[protocol.Priority]uint64{}}
}

func (m *model) clone() *model {
	c := newModel()
	c.last = m.last
	for k, v := range m.waiting {
		c.waiting[k] = slices.Clone(v)
	}
	for k, v := range m.checkpoints {
		c.checkpoints[k] = v
	}
	return c
}

func (m *model) ack(list []uint64) {
	for class, w := range m.waiting {
		m.waiting[class] = slices.DeleteFunc(w, func(s uint64) bool { return slices.Contains(list, s) })
	}
}

func (m *model) commit(s step) {
	for _, r := range s.appends {
		if m.checkpoints[r.Priority] == r.ID.Seq {
			delete(m.checkpoints, r.Priority)
		}
		m.waiting[r.Priority] = append(m.waiting[r.Priority], r.ID.Seq)
	}
	for _, r := range s.checkpoints {
		m.checkpoints[r.Priority] = r.ID.Seq
	}
	m.last = s.last
}

// crashed is what is there after a crash: checkpoints have become records.
func (m *model) crashed() *model {
	c := m.clone()
	for class, seq := range c.checkpoints {
		c.waiting[class] = append(c.waiting[class], seq)
	}
	clear(c.checkpoints)
	return c
}

// describe gives the model in the form of observe.
func (m *model) describe(without ...uint64) string {
	out := ""
	for class := protocol.CS6; class >= protocol.CS0; class-- {
		out += describe(class, m.waiting[class], without)
	}
	return out + fmt.Sprintf("last %d", m.last)
}

func describe(class protocol.Priority, list, without []uint64) string {
	list = slices.DeleteFunc(slices.Clone(list), func(s uint64) bool { return slices.Contains(without, s) })
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("%s%v ", class, list)
}

// observe describes what a buffer shows.
func observe(t testing.TB, b *buffer.Buffer, without ...uint64) string {
	t.Helper()
	out := ""
	for _, class := range b.Classes() {
		out += describe(class, seqs(t, b, class), without)
	}
	last := uint64(0)
	for _, p := range b.Boots() {
		if p.Boot == boot1 && p.NextSeq > 0 {
			last = p.NextSeq - 1
		}
	}
	return out + fmt.Sprintf("last %d", last)
}

// crash opens a copy of the directory as it is now, as after SIGKILL, describes
// it, commits something, crashes again and checks that nothing has changed.
func crash(t testing.TB, dir string, without ...uint64) string {
	t.Helper()
	c := buffer.Config{Dir: copyDir(t, dir), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	first := observe(t, b, without...)
	extra := record(protocol.CS1, 1000, 1)
	must(t, b.Append([]buffer.Record{extra}, buffer.Progress{}))
	c.Dir = copyDir(t, c.Dir)
	must(t, b.Close())
	b = open(t, c)
	if again := observe(t, b, append(without, 1000)...); again != first {
		t.Fatalf("second crash:\ngot  %s\nwant %s", again, first)
	}
	must(t, b.Close())
	return first
}

// memoryDir gives a directory in memory where there is one: the tests that
// make hundreds of buffers need no real fsync.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "telltale-buffer-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// copyDir copies the files of a directory, and their holes as holes.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := memoryDir(t)
	copyInto(t, dir, to)
	return to
}

func copyInto(t testing.TB, dir, to string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		used := bytes.TrimRight(data, "\x00")
		path := filepath.Join(to, e.Name())
		must(t, os.WriteFile(path, used, 0o600))
		must(t, os.Truncate(path, int64(len(data))))
	}
}

// apply runs one step.
func apply(t testing.TB, b *buffer.Buffer, s step) error {
	t.Helper()
	for _, class := range b.Classes() {
		for _, e := range all(t, b, class) {
			if slices.Contains(s.ack, e.Record.ID.Seq) {
				b.Ack(e.Position)
			}
		}
	}
	return b.Commit(s.appends, s.checkpoints, progress(s.last))
}

// TestFaultTable lets each file operation of the scenario fail once, before
// and after it was done. The step that it hits returns an error and nothing
// of it is visible; a crash at that moment leaves the step as a whole or not
// at all; the same step succeeds when it is tried again; and in the end everything
// is there once, in order, also after a crash.
func TestFaultTable(t *testing.T) {
	if testing.Short() {
		t.Skip("tries every step in turn, which is slow under the race detector; other tests of the package run side by side")
	}
	hit := 0
	for n := 1; ; n++ {
		reached := false
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("operation %d done %v", n, done), func(t *testing.T) {
				reached = runFault(t, n, done) || reached
			})
		}
		if !reached {
			break
		}
		hit = n
	}
	if hit < 30 {
		t.Errorf("got %d operations in the scenario, want at least 30", hit)
	}
}

// runFault runs the scenario with the n-th operation failing; false when it has fewer.
func runFault(t *testing.T, n int, done bool) bool {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	count, failed, opened := 0, "", false
	b, err := buffer.OpenFaulty(c, func(op string, after bool) error {
		if !opened {
			return nil
		}
		if !after {
			count++
		}
		if count == n && after == done && failed == "" {
			failed = op
			return errInjected
		}
		return nil
	})
	must(t, err)
	opened = true
	defer b.Close() //nolint:errcheck // closed below, or the test has failed
	m := newModel()
	for i, s := range scenario() {
		hit := failed == ""
		m.ack(s.ack)
		err := apply(t, b, s)
		if errors.Is(err, errInjected) {
			checkFailed(t, b, c.Dir, m, s)
			err = apply(t, b, s)
		}
		if err != nil {
			t.Fatalf("step %d (%s failed): %v", i, failed, err)
		}
		m.commit(s)
		if got, want := observe(t, b), m.describe(); got != want {
			t.Fatalf("step %d (%s failed):\ngot  %s\nwant %s", i, failed, got, want)
		}
		if hit = hit && failed != ""; !hit && i < len(scenario())-1 {
			continue
		}
		if got, want := crash(t, c.Dir), m.crashed().describe(); got != want {
			t.Fatalf("crash after step %d (%s failed):\ngot  %s\nwant %s", i, failed, got, want)
		}
	}
	must(t, b.Close())
	return failed != ""
}

// checkFailed checks the state after step s returned an error, and after a crash then.
func checkFailed(t *testing.T, b *buffer.Buffer, dir string, before *model, s step) {
	t.Helper()
	if got, want := observe(t, b), before.describe(); got != want {
		t.Fatalf("after the error:\ngot  %s\nwant %s", got, want)
	}
	after := before.clone()
	after.commit(s)
	got := crash(t, dir, s.ack...)
	none, whole := before.crashed().describe(s.ack...), after.crashed().describe(s.ack...)
	if got != none && got != whole {
		t.Fatalf("crash after the error:\ngot    %s\nwant   %s\nor all %s", got, none, whole)
	}
}
