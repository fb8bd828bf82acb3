package ingest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
)

// The child of TestKill is this test binary again, with these set.
const (
	childEnv = "TELLTALE_INGEST_CHILD" // folder with the stream
	rounds   = 30
	perCar   = 800 // of each of two vehicles
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child processes the stream in dir until everything is in the lake. Each child
// commits at other places, so that what one leaves behind does not fit the next.
func child(dir string) error {
	up, err := log{filepath.Join(dir, "up")}.load()
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(filepath.Join(dir, "schema"))
	if err != nil {
		return err
	}
	l, err := lake.Open(lake.Config{Dir: filepath.Join(dir, "lake"), Stream: "UP", Fold: ingest.Fold})
	if err != nil {
		return err
	}
	letters, err := log{filepath.Join(dir, "dead")}.load()
	if err != nil {
		return err
	}
	p, err := ingest.NewProcessor(ingest.ProcessorConfig{
		Name: "UP", Stream: up, Lake: l, Schemas: oneSchema(doc), Letters: letters,
		Publisher: log{filepath.Join(dir, "dead")}, FlushRows: 200 + rand.IntN(1000), Poll: time.Millisecond, FlushAge: 5 * time.Millisecond,
		Consumers: []ingest.Consumer{{Name: "told", Batch: notebook{filepath.Join(dir, "told")}.write}}, Checkpoints: folder(dir),
	})
	if err != nil {
		return err
	}
	fmt.Println(p.Checkpoint())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	err = p.Flush(ctx)
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return err
}

// notebook is a consumer that writes what it is told into a file, where it is safe from a kill at once.
type notebook struct{ name string }

// Standard output hears of it, so that the parent can kill at a point of the work, however fast the machine is.
func (n notebook) write(_ context.Context, b *ingest.Decoded) error {
	fmt.Println("told")
	f, err := os.OpenFile(n.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, b.Vehicle, b.Header.ID.Seq)
	return errors.Join(err, f.Close())
}

// folder keeps checkpoints in files.
type folder string

func (d folder) name(key string) string {
	return filepath.Join(string(d), "place-"+strings.ReplaceAll(key, "/", "-"))
}

func (d folder) Put(_ context.Context, key string, value []byte) error {
	if err := os.WriteFile(d.name(key)+".tmp", value, 0o600); err != nil {
		return err
	}
	return os.Rename(d.name(key)+".tmp", d.name(key))
}

func (d folder) List(context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	value, err := os.ReadFile(d.name("UP/told"))
	if err == nil {
		all["UP/told"] = value
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return all, err
}

// oneSchema is a schema store with one document.
type oneSchema []byte

func (s oneSchema) PutSchema(context.Context, protocol.SchemaHash, []byte) error { return nil }
func (s oneSchema) Schema(context.Context, protocol.SchemaID) ([]byte, error)    { return s, nil }

// TestKill kills a processor at random points of its work. In the end each row is in the
// files once, and the ledger is the one of a run without a kill.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	k := newMaker(t)
	if err := os.WriteFile(filepath.Join(dir, "schema"), k.doc, 0o600); err != nil {
		t.Fatal(err)
	}
	stream := prepare(t, k)
	if err := (log{filepath.Join(dir, "up")}).append(stream...); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for range rounds {
		if !runChild(t, dir, rand.IntN(2*perCar/rounds)) {
			killed++
		}
	}
	if !runChild(t, dir, 1<<30) {
		t.Fatal("the last child did not end by itself")
	}
	t.Logf("%d of %d children were killed while they worked", killed, rounds)
	if killed < rounds/2 {
		t.Errorf("only %d children were killed while they worked: the stream is too short", killed)
	}
	count := stored(t, filepath.Join(dir, "lake"))
	for _, vehicle := range []protocol.VehicleID{"car1", "car2"} {
		for seq := uint64(1); seq <= perCar; seq++ {
			want := 2 * rowsPerBatch
			if seq%100 == 50 { // garbage
				want = 0
			}
			if got := count[string(vehicle)+"/"+k.id(seq).String()]; got != want {
				t.Errorf("%s batch %d: got %d rows, want %d", vehicle, seq, got, want)
			}
		}
	}
	checkSameLedger(t, dir, k, stream)
	checkTold(t, dir)
	dead, err := log{filepath.Join(dir, "dead")}.load()
	if err != nil {
		t.Fatal(err)
	}
	origins := map[string]bool{}
	for _, m := range dead.all() {
		origins[m.Header[ingest.HeaderOrigin]] = true
	}
	if want := 2 * perCar / 100; len(origins) != want {
		t.Errorf("dead letters: got %d different, want %d", len(origins), want)
	}
	if got := len(dead.all()); got != len(origins) {
		t.Errorf("dead letters: got %d of %d messages, want one for each", got, len(origins))
	}
}

// checkTold holds what the consumer was told against the stream: of each vehicle all batches in order, where a
// kill sets it back by what was not noted yet.
func checkTold(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "told"))
	if err != nil {
		t.Fatal(err)
	}
	newest, again := map[string]uint64{}, 0
	for line := range strings.Lines(string(text)) {
		var vehicle string
		var seq uint64
		if _, err := fmt.Sscan(line, &vehicle, &seq); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		next := newest[vehicle] + 1
		if next%100 == 50 { // garbage
			next++
		}
		switch {
		case seq == next:
			newest[vehicle] = seq
		case seq < next:
			again++
		default:
			t.Fatalf("%s: got batch %d, want %d", vehicle, seq, next)
		}
	}
	if newest["car1"] != perCar || newest["car2"] != perCar {
		t.Errorf("the consumer was told up to %v, want %d of both vehicles", newest, perCar)
	}
	t.Logf("%d of %d batches came again after kills", again, 2*perCar)
}

// prepare makes the stream: two vehicles, over midnight, with duplicates and garbage.
func prepare(t *testing.T, k *maker) (out []ingest.Message) {
	t.Helper()
	for seq := uint64(1); seq <= perCar; seq++ {
		payload := k.payload(seq)
		if seq%100 == 50 {
			payload = payload[:len(payload)/2]
		}
		for _, vehicle := range []protocol.VehicleID{"car1", "car2"} {
			k.vehicle = vehicle
			out = append(out, k.message(payload, k.id(seq).String()))
		}
		if seq%7 == 0 && seq%100 != 50 {
			out = append(out, out[len(out)-2])
		}
	}
	return out
}

// runChild kills the child when its consumer was told of so many batches since the start. It says whether the child ended by itself.
func runChild(t *testing.T, dir string, after int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // ends a child that hangs; the race detector makes it slow
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatalf("the child did not open the lake: %v, %v", err, cmd.Wait())
	}
	for told := 0; told < after; told++ {
		if _, err := r.ReadString('\n'); err != nil {
			break // it ended
		}
	}
	if after < 2*perCar {
		_ = cmd.Process.Kill()
	}
	_, _ = io.Copy(io.Discard, r)
	err = cmd.Wait()
	if err != nil && cmd.ProcessState.Exited() {
		t.Fatalf("the child failed: %v", err)
	}
	return err == nil
}

// checkSameLedger holds the ledger on disk against that of an uninterrupted run.
func checkSameLedger(t *testing.T, dir string, k *maker, stream []ingest.Message) {
	t.Helper()
	b := newBench(t)
	for _, m := range stream {
		b.up.Publish(m, func(uint64, error) {})
	}
	p, _ := b.start()
	b.flush(p)
	last, snapshot := committed(t, filepath.Join(dir, "lake"))
	if last != uint64(len(stream)) || string(snapshot) != string(p.Ledger().Snapshot()) {
		t.Errorf("checkpoint at %d of %d: the ledger differs from that of an uninterrupted run", last, len(stream))
	}
	for _, a := range p.Accounts("") {
		if a.Stored != perCar-perCar/100 || a.Dead != perCar/100 || len(a.Gaps) != 0 || (a.Duplicates > 0) != (a.Vehicle == "car1") {
			t.Errorf("account of %s: got %+v", a.Vehicle, a.Counts)
		}
	}
}
