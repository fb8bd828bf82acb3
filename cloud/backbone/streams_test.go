package backbone_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// message makes one for a subject.
func message(subject, text string) backbone.Message {
	return backbone.Message{Subject: subject, Data: []byte(text)}
}

// TestDeclare: what a declaration says is what the stream does, at once, after a restart, and when it is declared otherwise.
func TestDeclare(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	states := backbone.Stream{Name: "STATES", Prefixes: []string{"cmd.state"}, Limits: backbone.Limits{PerSubject: 2}}
	recent := backbone.Stream{Name: "RECENT", Prefixes: []string{"recent", "cmd.seen"}, Limits: backbone.Limits{MaxBytes: 50_000}, Discard: backbone.DeleteOld}
	volatile := backbone.Stream{Name: "VOLATILE", Prefixes: []string{"volatile"}, Storage: backbone.InMemory}
	b := open(t, backbone.Config{Dir: dir, Streams: []backbone.Stream{states}})
	if err := b.Declare(t.Context(), recent, volatile); err != nil {
		t.Fatal(err)
	}
	for i, m := range []backbone.Message{
		message("cmd.state.a.1", "one"), message("cmd.state.a.1", "two"), message("cmd.state.b.1", "other"), message("cmd.state.a.1", "three"),
	} {
		if got := publish(t, b, m)[0]; got.err != nil || got.seq != uint64(i+1) {
			t.Fatalf("message %d: got %+v", i, got)
		}
	}
	for i := range 20 {
		subject := []string{"recent.x", "cmd.seen.y"}[i%2]
		if got := publish(t, b, backbone.Message{Subject: subject, Data: make([]byte, 10_000)})[0]; got.err != nil {
			t.Fatalf("a stream that deletes the oldest: got %+v", got)
		}
	}
	if got := publish(t, b, message("volatile.x", "here"))[0]; got.err != nil || got.seq != 1 {
		t.Errorf("in memory: got %+v", got)
	}
	check := func(b *backbone.Backbone, inMemory uint64) {
		t.Helper()
		for stream, want := range map[string]backbone.StreamInfo{
			"STATES": {First: 2, Last: 4, Messages: 3}, "RECENT": {First: 17, Last: 20, Messages: 4}, "VOLATILE": {First: 1, Last: inMemory, Messages: inMemory},
		} {
			got, err := b.Info(t.Context(), stream)
			if got.Bytes = 0; err != nil || got != want {
				t.Errorf("%s: got %+v, %v, want %+v", stream, got, err, want)
			}
		}
		if got := readAll(t, b, "STATES", 0, 3); string(got[0].Data) != "two" || string(got[2].Data) != "three" {
			t.Errorf("got %q and %q, want the two newest of the subject", got[0].Data, got[2].Data)
		}
	}
	check(b, 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var log lines
	b = open(t, backbone.Config{Dir: dir, Streams: []backbone.Stream{states, recent, volatile}, Log: log.logger()})
	check(b, 0)
	if log.count("has lost messages") > 0 {
		t.Error("what a declaration deletes is called damage")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	states.Limits = backbone.Limits{MaxBytes: 1000}
	states.Prefixes = append(states.Prefixes, "cmd.more")
	b = open(t, backbone.Config{Dir: dir, Streams: []backbone.Stream{states}})
	if got := publish(t, b, message("cmd.more.x", "fits"), backbone.Message{Subject: "cmd.more.x", Data: make([]byte, 2000)}); got[0].err != nil ||
		!errors.Is(got[1].err, backbone.ErrFull) {
		t.Errorf("declared otherwise: got %+v, want the second one refused", got)
	}
}

// TestDeclareRefuses wants one error which says what was expected.
func TestDeclareRefuses(t *testing.T) {
	b := open(t, backbone.Config{})
	if err := b.Declare(t.Context(), backbone.Stream{Name: "GOOD", Prefixes: []string{"good.one"}}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		s    backbone.Stream
		says string
	}{
		"no name":        {backbone.Stream{Prefixes: []string{"x"}}, "expected 1 to 32 letters"},
		"name of a path": {backbone.Stream{Name: "../UP", Prefixes: []string{"x"}}, "expected 1 to 32 letters"},
		"long name":      {backbone.Stream{Name: strings.Repeat("x", 33), Prefixes: []string{"x"}}, "expected 1 to 32 letters"},
		"bucket's name":  {backbone.Stream{Name: "KV_vehicles", Prefixes: []string{"x"}}, "those of buckets"},
		"no prefix":      {backbone.Stream{Name: "X"}, "at least one prefix"},
		"wildcard":       {backbone.Stream{Name: "X", Prefixes: []string{"x.*"}}, "without wildcards"},
		"server's own":   {backbone.Stream{Name: "X", Prefixes: []string{"$KV.vehicles"}}, "the server's own"},
		"negative limit": {backbone.Stream{Name: "X", Prefixes: []string{"x"}, Limits: backbone.Limits{PerSubject: -1}}, "no negative number"},
		"unknown policy": {backbone.Stream{Name: "X", Prefixes: []string{"x"}, Discard: 9}, "unknown policy"},
		"twice":          {backbone.Stream{Name: "GOOD", Prefixes: []string{"x"}}, "declared twice"},
		"same subjects":  {backbone.Stream{Name: "X", Prefixes: []string{"good.one"}}, "stream GOOD has subjects"},
		"wider":          {backbone.Stream{Name: "X", Prefixes: []string{"good"}}, "stream GOOD has subjects"},
		"narrower":       {backbone.Stream{Name: "X", Prefixes: []string{"up.local"}}, "stream UP has subjects"},
		"own twice":      {backbone.Stream{Name: "X", Prefixes: []string{"x", "x.y"}}, "stream X has subjects"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := b.Declare(t.Context(), test.s); !errors.Is(err, backbone.ErrInvalid) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
	if got := publish(t, b, message("good.on", ""), message("good.one", ""), message("good.ones.x", "")); got[0].err == nil || got[1].err == nil || got[2].err == nil {
		t.Errorf("subjects that only look like the stream's: got %+v", got)
	}
	if got := publish(t, b, message("good.one.x", ""))[0]; got.err != nil {
		t.Errorf("after the refusals: got %+v", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Declare(t.Context(), backbone.Stream{Name: "LATE", Prefixes: []string{"late"}}); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, backbone.ErrClosed)
	}
}

// TestStorageStays: a stream cannot move between disk and memory, which would lose it.
func TestStorageStays(t *testing.T) {
	dir := t.TempDir()
	s := backbone.Stream{Name: "X", Prefixes: []string{"x"}}
	b := open(t, backbone.Config{Dir: dir, Streams: []backbone.Stream{s}})
	publish(t, b, message("x.y", "kept"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	other := s
	other.Storage = backbone.InMemory
	if _, err := backbone.Open(backbone.Config{Dir: dir, Streams: []backbone.Stream{other}}); !errors.Is(err, backbone.ErrInvalid) || !strings.Contains(err.Error(), "stream X: its storage") {
		t.Errorf("got %v, want %v", err, backbone.ErrInvalid)
	}
	if got := readAll(t, open(t, backbone.Config{Dir: dir, Streams: []backbone.Stream{s}}), "X", 0, 1); string(got[0].Data) != "kept" {
		t.Errorf("got %q, want it kept", got[0].Data)
	}
}

// TestInMemoryNeedsNoDisk: a stream in memory takes messages while the disk is short, and is there again after a revival.
func TestInMemoryNeedsNoDisk(t *testing.T) {
	b := open(t, backbone.Config{MinFree: math.MaxInt64 / 4, Streams: []backbone.Stream{{Name: "X", Prefixes: []string{"x"}, Storage: backbone.InMemory}}})
	if got := publish(t, b, message("x.y", ""), message("up.x.y.z", "")); got[0].err != nil || !errors.Is(got[1].err, backbone.ErrFull) {
		t.Errorf("got %+v, want the first one taken and the second one refused", got)
	}
}

// TestDismissedIsNoDamage: deleting a dead letter leaves a hole that the next start does not take for damage.
func TestDismissedIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	publish(t, b, message("dead.UP.a", ""), message("dead.UP.b", ""), message("dead.UP.c", ""))
	if found, err := b.Delete(t.Context(), backbone.Dead, 2); !found || err != nil {
		t.Fatal(found, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var log lines
	b = open(t, backbone.Config{Dir: dir, Log: log.logger()})
	if got := readAll(t, b, backbone.Dead, 0, 2); got[1].Sequence != 3 || log.count("damaged") > 0 {
		t.Errorf("got %+v and the log %s", got, log.text.String())
	}
}

// TestNext: the stream says which message is the first from a sequence on, over holes, and that none is when the newest were deleted.
func TestNext(t *testing.T) {
	b := open(t, backbone.Config{})
	publish(t, b, message("dead.UP.a", ""), message("dead.UP.b", ""), message("dead.UP.c", ""), message("dead.UP.d", ""))
	for _, sequence := range []uint64{2, 4} {
		if found, err := b.Delete(t.Context(), backbone.Dead, sequence); !found || err != nil {
			t.Fatal(found, err)
		}
	}
	for from, want := range []uint64{1, 1, 3, 3, 0, 0} {
		if got, err := b.Next(t.Context(), backbone.Dead, uint64(from)); got != want || err != nil {
			t.Errorf("from %d: got %d, %v, want %d", from, got, err, want)
		}
	}
	if got, err := b.Next(t.Context(), backbone.Up, 1); got != 0 || err != nil {
		t.Errorf("of an empty stream: got %d, %v, want 0", got, err)
	}
}

// TestFormerLayout opens a directory of the version before streams could be declared, as a kill left it: nothing is
// lost, nothing is called damaged, and the settings of its streams stay byte for byte.
func TestFormerLayout(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := unpack(t, "layout1.tar.gz")
	settings := map[string]string{}
	for _, stream := range []string{"UP", "LOW", "DEAD", "KV_vehicles"} {
		settings[stream] = read(t, filepath.Join(dir, "jetstream", "$G", "streams", stream, "meta.inf"))
	}
	var log lines
	limits := backbone.Limits{MaxBytes: 4 << 30}
	b := open(t, backbone.Config{Dir: dir, Log: log.logger(),
		Limits:  map[string]backbone.Limits{backbone.Up: limits, backbone.Low: limits, backbone.Dead: limits},
		Streams: []backbone.Stream{{Name: "STATES", Prefixes: []string{"cmd.state"}}}})
	if log.text.Len() > 0 {
		t.Errorf("the log says %s", log.text.String())
	}
	if got := read(t, filepath.Join(dir, "VERSION")); got != "2\n" {
		t.Errorf("got version %q, want 2, so that the version before does not open what is written from now on", got)
	}
	for stream, want := range map[string]string{"UP": "up.local", "LOW": "low.1", "DEAD": "dead.UP"} {
		n := map[string]int{"DEAD": 59}[stream]
		if n == 0 {
			n = 60
		}
		for i, m := range readAll(t, b, stream, 0, n) {
			if stream == "DEAD" && i >= 6 {
				i++ // one was dismissed
			}
			if m.Subject != want+".car.batch" || string(m.Data) != fmt.Sprintf("message %d", i) || m.Header["n"] != fmt.Sprint(i) || m.Sequence != uint64(i+1) {
				t.Fatalf("%s: got %+v, want message %d", stream, m, i)
			}
		}
		for i, got := range publish(t, b, message(want+".car.batch", "more"), message(want+".car.batch", "more"), message(want+".car.batch", "more")) {
			if got.err != nil || got.seq != uint64(61+i) {
				t.Errorf("%s: got %+v, want sequence %d", stream, got, 61+i)
			}
		}
		for i, m := range readAll(t, b, stream, 58, 6) { // over from messages that stand alone to groups
			if m.Sequence != uint64(58+i) || m.Subject != want+".car.batch" {
				t.Errorf("%s: got %+v, want sequence %d", stream, m, 58+i)
			}
		}
	}
	want := map[string]string{}
	for i := range 10 {
		want[fmt.Sprintf("car%d", i)] = fmt.Sprintf("value %d", i)
	}
	delete(want, "car3")
	checkList(t, bucket(t, b, "vehicles"), want)
	for stream, before := range settings {
		if after := read(t, filepath.Join(dir, "jetstream", "$G", "streams", stream, "meta.inf")); after != before {
			t.Errorf("%s: got settings %s, want %s", stream, after, before)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unpack unpacks an archive of testdata and gives the folder data in it.
func unpack(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(root, "data")
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, filepath.FromSlash(header.Name))
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var data []byte
			if data, err = io.ReadAll(archive); err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// expecting publishes on a condition and waits.
func expecting(t *testing.T, b *backbone.Backbone, m backbone.Message, last uint64) result {
	t.Helper()
	answer := make(chan result, 1)
	b.PublishExpecting(m, last, func(seq uint64, err error) { answer <- result{seq, err} })
	select {
	case got := <-answer:
		return got
	case <-time.After(30 * time.Second):
		t.Fatal("done was not called within 30 s")
		return result{}
	}
}

// steps is a stream whose messages stand alone.
var steps = backbone.Stream{Name: "STEPS", Prefixes: []string{"step"}}

// checkExpecting is what PublishExpecting and Last promise, on any server.
func checkExpecting(t *testing.T, b *backbone.Backbone) {
	t.Helper()
	if err := b.Declare(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	wantConflict := func(got result, expected, found uint64) {
		t.Helper()
		var conflict *backbone.ConflictError
		if !errors.As(got.err, &conflict) || !errors.Is(got.err, backbone.ErrConflict) || *conflict != (backbone.ConflictError{Expected: expected, Found: found}) {
			t.Errorf("got %+v, want a conflict: expected %d, found %d", got, expected, found)
		}
	}
	if _, err := b.Last(t.Context(), "step.s1.a.x"); !errors.Is(err, backbone.ErrNotFound) {
		t.Errorf("no message: got %v, want %v", err, backbone.ErrNotFound)
	}
	wantConflict(expecting(t, b, message("step.s1.a.x", ""), 7), 7, 0)
	one := expecting(t, b, message("step.s1.a.x", "one"), 0)
	if one.err != nil {
		t.Fatal(one.err)
	}
	wantConflict(expecting(t, b, message("step.s1.a.x", "one again"), 0), 0, one.seq)
	publish(t, b, message("step.s1.b.x", "of another subject"))
	two := expecting(t, b, backbone.Message{Subject: "step.s1.a.x", Header: map[string]string{"n": "2"}, Data: []byte("two")}, one.seq)
	if two.err != nil || two.seq != one.seq+2 {
		t.Fatalf("got %+v, want sequence %d", two, one.seq+2)
	}
	three := publish(t, b, message("step.s1.a.x", "three"))[0]
	wantConflict(expecting(t, b, message("step.s1.a.x", ""), two.seq), two.seq, three.seq)
	got, err := b.Last(t.Context(), "step.s1.a.x")
	if err != nil || got.Sequence != three.seq || string(got.Data) != "three" || got.Header != nil {
		t.Errorf("last: got %+v, %v, want three", got, err)
	}
	if got := readAll(t, b, "STEPS", two.seq, 1)[0]; len(got.Header) != 1 || got.Header["n"] != "2" {
		t.Errorf("got header %v, want only our own", got.Header)
	}
	if got := expecting(t, b, message("sideways.x", ""), 0); !errors.Is(got.err, backbone.ErrInvalid) {
		t.Errorf("no stream: got %+v", got)
	}
	if _, err := b.Last(t.Context(), "sideways.x"); !errors.Is(err, backbone.ErrInvalid) {
		t.Errorf("last of no stream: got %v", err)
	}
}

func TestPublishExpecting(t *testing.T) {
	b := open(t, backbone.Config{})
	checkExpecting(t, b)
	if s := b.Stats(); s.Conflicts != 3 || s.Refused != 0 {
		t.Errorf("got %d conflicts and %d refused, want 3 and 0", s.Conflicts, s.Refused)
	}
}

// TestOneOfManyWins lets 50 publishers take one step after the other on few subjects, beside others that
// publish without a condition: each step happens once, and no condition spoils a batch.
func TestOneOfManyWins(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{Streams: []backbone.Stream{steps}})
	const publishers, subjects, steps = 50, 3, 10
	var all sync.WaitGroup
	var mu sync.Mutex
	won := map[string]int{}
	for p := range publishers {
		all.Go(func() {
			subject := fmt.Sprintf("step.s1.car%d.step", p%subjects)
			for last, step := uint64(0), 0; step < steps; {
				got := expecting(t, b, message(subject, fmt.Sprint(step)), last)
				var conflict *backbone.ConflictError
				switch {
				case got.err == nil:
					mu.Lock()
					won[fmt.Sprint(subject, step)]++
					mu.Unlock()
					last = got.seq
				case !errors.As(got.err, &conflict):
					t.Error(got.err)
					return
				default:
					last = conflict.Found
				}
				if m, err := b.Last(t.Context(), subject); err == nil {
					last = m.Sequence
					_, _ = fmt.Sscan(string(m.Data), &step)
					step++
				}
			}
		})
	}
	all.Go(func() {
		messages := numbered(2000)
		for i := range messages {
			messages[i].Subject = "step.s1.other"
		}
		for _, got := range publish(t, b, messages...) {
			if got.err != nil {
				t.Errorf("without a condition: %v", got.err)
			}
		}
	})
	waitFor(t, &all)
	for subject := range subjects {
		for step := range steps {
			if n := won[fmt.Sprintf("step.s1.car%d.step%d", subject, step)]; n != 1 {
				t.Errorf("subject %d, step %d: got %d winners, want 1", subject, step, n)
			}
		}
	}
	if s := b.Stats(); s.Fallbacks > 0 || s.Batches == 0 {
		t.Errorf("got %+v, want batches and no fallback", s)
	}
}
