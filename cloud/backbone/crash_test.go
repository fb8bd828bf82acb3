package backbone_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// The child processes of these tests are this test binary, told apart by the environment.
const (
	roleVariable = "BACKBONE_TEST_ROLE"
	roleCrash    = "crash"
	roleHold     = "hold"
	roleTimers   = "timers"
	roleNATS     = "nats"
	dirVariable  = "BACKBONE_TEST_DIR"
	runVariable  = "BACKBONE_TEST_RUN"
)

// crashPublishers is the number of goroutines that publish in the child; more than the
// break-even, so that atomic batches and single publishes both happen.
const crashPublishers = 60

// crashChild publishes until it is killed and prints a line for each acknowledgement:
// "m SEQUENCE PUBLISHER NUMBER" for messages, "k REVISION NUMBER" for a bucket's value.
func crashChild() {
	b, err := backbone.Open(backbone.Config{Dir: os.Getenv(dirVariable)})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	out := make(chan string, 1024)
	run := os.Getenv(runVariable)
	for p := range crashPublishers {
		go crashPublish(b, fmt.Sprintf("%s-%d", run, p), p%3 == 0, out)
	}
	go crashPut(b, run, out)
	for line := range out {
		fmt.Println(line) // unbuffered: what is printed was acknowledged before the kill
	}
}

func crashPublish(b *backbone.Backbone, name string, pause bool, out chan<- string) {
	for n := 0; ; n++ {
		data := binary.BigEndian.AppendUint64(make([]byte, 100+n%2000), uint64(n))
		answer := make(chan string, 1)
		b.Publish(backbone.Message{Subject: "up.s1.car.batch", Header: map[string]string{"from": name}, Data: data},
			func(seq uint64, err error) {
				if err != nil {
					answer <- "error " + err.Error()
					return
				}
				answer <- fmt.Sprintf("m %d %s %d", seq, name, n)
			})
		out <- <-answer
		if pause {
			time.Sleep(time.Duration(n%5) * time.Millisecond)
		}
	}
}

func crashPut(b *backbone.Backbone, run string, out chan<- string) {
	k, err := b.Bucket("state")
	for n := 0; ; n++ {
		var rev uint64
		if err == nil {
			rev, err = k.Put(context.Background(), "key", fmt.Appendf(nil, "%s %d", run, n))
		}
		if err != nil {
			out <- "error " + err.Error()
			return
		}
		out <- fmt.Sprintf("k %d %s %d", rev, run, n)
	}
}

// acked is what the children were told is on disk.
type acked struct {
	messages map[uint64]string // sequence: publisher and number
	revision uint64
	value    string
}

// TestKilledProcessLosesNothing kills a publishing process at random moments, ten
// times on one data directory, and wants everything acknowledged there, in order.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	want := acked{messages: map[uint64]string{}}
	for run := range 10 {
		after := time.Duration(rand.Int64N(int64(300 * time.Millisecond)))
		crash(t, dir, strconv.Itoa(run), after, &want)
	}
	b := open(t, backbone.Config{Dir: dir})
	info, err := b.Info(t.Context(), backbone.Up)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages acknowledged, %d stored", len(want.messages), info.Messages)
	if len(want.messages) < 100 || info.First != 1 || info.Messages != info.Last {
		t.Fatalf("got %+v, want a stream without holes and at least 100 acknowledged messages (%d)", info, len(want.messages))
	}
	last := map[string]uint64{}
	for _, m := range readAll(t, b, backbone.Up, 0, int(info.Messages)) {
		from, n := m.Header["from"], binary.BigEndian.Uint64(m.Data[len(m.Data)-8:])
		if before, ok := last[from]; ok && n != before+1 || !ok && n != 0 {
			t.Fatalf("sequence %d: got number %d of publisher %s after %d", m.Sequence, n, from, before)
		}
		last[from] = n
		got := fmt.Sprintf("%s %d", from, n)
		if want, ok := want.messages[m.Sequence]; ok && got != want {
			t.Fatalf("sequence %d: got %q, acknowledged was %q", m.Sequence, got, want)
		}
		delete(want.messages, m.Sequence)
	}
	if len(want.messages) > 0 {
		t.Errorf("%d acknowledged messages are gone", len(want.messages))
	}
	checkValue(t, b, want)
}

// checkValue wants the last acknowledged value, or a newer one whose acknowledgement was cut off.
func checkValue(t *testing.T, b *backbone.Backbone, want acked) {
	t.Helper()
	k, err := b.Bucket("state")
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Get(t.Context(), "key")
	if err != nil || got.Revision < want.revision || got.Revision == want.revision && string(got.Value) != want.value {
		t.Errorf("bucket: got %q at revision %d, error %v, want %q at %d or newer", got.Value, got.Revision, err, want.value, want.revision)
	}
}

// child starts this binary in a role.
func child(t *testing.T, role, dir, run string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, dirVariable+"="+dir, runVariable+"="+run)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// crash runs a child, kills it some time after its first word, and adds what it was told.
func crash(t *testing.T, dir, run string, after time.Duration, want *acked) {
	t.Helper()
	cmd, out := child(t, roleCrash, dir, run)
	var kill sync.Once
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		kill.Do(func() { time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) })
		want.add(t, lines.Text())
	}
	_ = cmd.Wait() // killed
}

func (a *acked) add(t *testing.T, line string) {
	t.Helper()
	word := strings.Fields(line)
	if len(word) != 4 || word[0] == "error" {
		t.Fatalf("child said %q", line)
	}
	n, err := strconv.ParseUint(word[1], 10, 64)
	if err != nil {
		t.Fatalf("child said %q", line)
	}
	switch word[0] {
	case "m":
		a.messages[n] = word[2] + " " + word[3]
	case "k":
		a.revision, a.value = n, word[2]+" "+word[3]
	}
}

// TestKilledWhileStarting kills processes before and while they open the directory for the first time.
func TestKilledWhileStarting(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	for i := range 12 {
		cmd, _ := child(t, roleHold, dir, "0")
		time.Sleep(time.Duration(5+4*i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	b := open(t, backbone.Config{Dir: dir})
	if r := publish(t, b, numbered(1)...)[0]; r.err != nil || r.seq != 1 {
		t.Errorf("publish: got %+v, want sequence 1", r)
	}
}

// holdChild opens the directory, says so, and keeps it until its input ends.
func holdChild() {
	b, err := backbone.Open(backbone.Config{Dir: os.Getenv(dirVariable)})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	time.Sleep(time.Minute)
	_ = b.Close()
}
