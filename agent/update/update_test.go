package update_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/update"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
)

const goodPath = "DELIVERED DOWNLOADING VERIFIED INSTALLING REBOOTING CONFIRMED"

func TestGoodUpdate(t *testing.T) {
	b := newBench(t)
	file, payload := b.file(8, 3<<20)
	last := b.await(updateDocument("u1", 1, file))
	if last.State != updates.Confirmed || last.Running.Slot != "B" || last.Running.Trial || last.Bytes != int64(len(file)) {
		t.Errorf("got %+v", last)
	}
	if got := b.path("u1"); got != goodPath {
		t.Errorf("got %s", got)
	}
	if !bytes.Equal(b.fake.Content(slots.B), payload) {
		t.Error("slot B does not hold the payload")
	}
	if partials, _ := filepath.Glob(filepath.Join(b.dir, "*.part")); len(partials) > 0 {
		t.Errorf("left over: %v", partials)
	}
	// The next one goes back to slot A.
	next, payload := b.file(9, 1<<20)
	if last := b.await(updateDocument("u2", 2, next)); last.State != updates.Confirmed || last.Running.Slot != "A" {
		t.Errorf("got %+v", last)
	}
	if !bytes.Equal(b.fake.Content(slots.A), payload) {
		t.Error("slot A does not hold the payload")
	}
}

func TestRefused(t *testing.T) {
	b := newBench(t)
	good, _ := b.file(8, 1000)
	corrupt := bytes.Clone(good)
	corrupt[len(corrupt)-5] ^= 1
	forged := bytes.Clone(good)
	forged[60] ^= 1
	older, _ := b.file(6, 1000)
	big, _ := b.file(8, capacity+1)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(board string, key *ecdsa.PrivateKey) []byte {
		var out bytes.Buffer
		if _, err := firmware.Sign(&out, firmware.Manifest{Board: board, Version: "v", Release: 8}, strings.NewReader("x"), key); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for i, c := range []struct {
		name   string
		file   []byte
		reason reasons.Reason
	}{
		{"wrong key", sign(board, other), reasons.WrongKey},
		{"wrong board", sign("rpi", b.key), reasons.WrongBoard},
		{"older", older, reasons.Older},
		{"truncated", good[:len(good)-1], reasons.Truncated},
		{"corrupt", corrupt, reasons.Corrupt},
		{"no update", []byte("hello, this is something else"), reasons.NotUpdate},
		{"too large for the slot", big, reasons.SlotFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.put(c.file)
			id := updates.ID(strings.ReplaceAll(c.name, " ", "-"))
			last := b.await(updateDocument(id, uint64(i+1), c.file))
			if last.State != updates.Failed || last.Reason != c.reason || last.Detail == "" || last.Running.Slot != "A" {
				t.Errorf("got %+v", last)
			}
			if got := b.fake.Content(slots.B); len(got) != 0 {
				t.Errorf("%d bytes were written to the slot", len(got))
			}
		})
	}
	doc := updateDocument("down", 20, older)
	doc.AllowDowngrade = true
	if last := b.await(doc); last.State != updates.Confirmed {
		t.Errorf("got %+v with a downgrade allowed", last)
	}
}

func TestNoSpaceAndNoSlots(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	huge := updateDocument("huge", 1, file)
	huge.Size = 2 << 30
	if last := b.await(huge); last.Reason != reasons.NoSpace || last.State != updates.Failed {
		t.Errorf("got %+v", last)
	}
	b.slots = nil
	if last := b.await(updateDocument("u", 2, file)); last.Reason != reasons.NotSupported || last.State != updates.Failed {
		t.Errorf("got %+v", last)
	}
}

func TestUnhealthyGoesBack(t *testing.T) {
	for name, c := range map[string]struct {
		worsen func(*bench)
		reason reasons.Reason
	}{
		"unhealthy": {func(b *bench) { b.unhealthy = errors.New("no bus") }, reasons.Unhealthy},
		"offline":   {func(b *bench) { b.offline = true }, reasons.NotConnected},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			file, _ := b.file(8, 1000)
			c.worsen(b)
			last := b.await(updateDocument("u", 1, file))
			if last.State != updates.RolledBack || last.Reason != c.reason || last.Running.Slot != "A" || last.Running.Trial {
				t.Errorf("got %+v", last)
			}
			if got := b.path("u"); got != "DELIVERED DOWNLOADING VERIFIED INSTALLING REBOOTING ROLLED_BACK" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestBootLoaderGaveUp: the new firmware never reached its agent.
func TestBootLoaderGaveUp(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	doc := updateDocument("u", 1, file)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, done := b.start(ctx, doc)
	if err := <-done; !errors.Is(err, update.ErrRestart) {
		t.Fatal(err)
	}
	for range slots.Tries {
		if got := b.fake.Start(); got != slots.B {
			t.Fatalf("started %s", got)
		}
	}
	if got := b.fake.Start(); got != slots.A {
		t.Fatalf("started %s", got)
	}
	last := b.await(doc)
	if last.State != updates.RolledBack || last.Reason != reasons.BootFailed || last.Running.Slot != "A" {
		t.Errorf("got %+v", last)
	}
	if st, _ := b.fake.Status(); st.Order[0] != slots.A || st.Left[slots.A] != slots.Tries {
		t.Errorf("got %+v", st)
	}
}

// TestRestartRefused: nobody restarts the machine, however often it is asked for.
func TestRestartRefused(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	doc := updateDocument("u", 1, file)
	for range 3 {
		_, done := b.start(t.Context(), doc)
		if err := <-done; !errors.Is(err, update.ErrRestart) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, done := b.start(ctx, doc)
	b.until(ctx, done, "u")
	cancel()
	<-done
	if last := b.last(); last.State != updates.Failed || last.Reason != reasons.RestartRefused {
		t.Errorf("got %+v", last)
	}
	if got := b.fake.Start(); got != slots.A {
		t.Errorf("after a report of failure %s was started", got)
	}
}

// TestCrashLoop: the new agent ends again and again before its time is over.
func TestCrashLoop(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	doc := updateDocument("u", 1, file)
	_, done := b.start(t.Context(), doc)
	if err := <-done; !errors.Is(err, update.ErrRestart) {
		t.Fatal(err)
	}
	b.fake.Start()
	b.offline = true
	for i := 0; ; i++ {
		if i > 10 {
			t.Fatal("a crash loop was not noticed")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		_, done := b.start(ctx, doc)
		err := <-done
		cancel()
		if errors.Is(err, update.ErrRestart) {
			break
		}
	}
	b.fake.Start()
	if last := b.await(doc); last.State != updates.RolledBack || last.Reason != reasons.Unhealthy || last.Running.Slot != "A" {
		t.Errorf("got %+v", last)
	}
}

func TestCancelAndSupersede(t *testing.T) {
	b := newBench(t)
	first, _ := b.file(8, 1000)
	second, _ := b.file(9, 2000)
	b.handler = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() } // never gives a byte
	ctx, cancel := context.WithCancel(t.Context())
	u, done := b.start(ctx, updateDocument("u1", 1, first))
	waitFor(t, func() bool { return b.last().State == updates.Downloading })
	u.Offer(encode(t, updateDocument("u2", 2, second)))
	waitFor(t, func() bool { return b.last().Update == "u2" && b.last().State == updates.Downloading })
	if got := b.path("u1"); got != "DELIVERED DOWNLOADING CANCELED" {
		t.Errorf("got %s", got)
	}
	gone := updateDocument("u2", 3, second)
	gone.Cancel = true
	u.Offer(encode(t, gone))
	waitFor(t, func() bool { return b.last().State == updates.Canceled })
	if got := b.last(); got.Update != "u2" || got.Reason != reasons.CanceledByRequest {
		t.Errorf("got %+v", got)
	}
	// A cancel of what this device never saw is answered, too.
	unseen := updateDocument("u3", 4, first)
	unseen.Cancel, unseen.After = true, 41
	u.Offer(encode(t, unseen))
	waitFor(t, func() bool { return b.last().Update == "u3" })
	if got := b.last(); got.State != updates.Canceled || got.Sequence <= 41 {
		t.Errorf("got %+v", got)
	}
	stale := updateDocument("u4", 2, first)
	other := updateDocument("u5", 9, first)
	other.Device = "another"
	for _, doc := range [][]byte{encode(t, stale), encode(t, other), []byte("junk")} {
		u.Offer(doc)
	}
	time.Sleep(20 * time.Millisecond)
	cancel()
	<-done
	if got := b.last(); got.Update != "u3" {
		t.Errorf("got %+v", got)
	}
}

// TestCancelAgain: the same cancel without end costs one more word, not one for each.
func TestCancelAgain(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	u, done := b.start(ctx)
	gone := updateDocument("u", 1, file)
	gone.Cancel = true
	for range 10 {
		u.Take(ctx, encode(t, gone))
	}
	cancel()
	<-done
	words := 0
	for _, f := range b.said {
		if f.Update == "u" {
			words++
		}
	}
	if words != 2 {
		t.Errorf("got %d words on it, want 2", words)
	}
}

// TestTakenIsOnDisk: a document counts as taken only when the journal has it, also when it could not be written at first.
func TestTakenIsOnDisk(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	b.handler = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	broken := make(chan struct{})
	b.onWrite = func(do func() error) error {
		select {
		case <-broken:
			return do()
		default:
			return errors.New("no room")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	u, done := b.start(ctx)
	taken := make(chan struct{})
	go func() { u.Take(ctx, encode(t, updateDocument("u", 1, file))); close(taken) }()
	select {
	case <-taken:
		t.Error("taken without a journal")
	case <-time.After(100 * time.Millisecond): // several tries
	}
	close(broken)
	<-taken
	if _, err := os.Stat(filepath.Join(b.dir, "journal.cbor")); err != nil {
		t.Errorf("taken: got %v, want a journal", err)
	}
	cancel()
	<-done
}

// TestEachStart: what runs is told at each start, and the running slot gets its tries back when the boot loader counts its starts.
func TestEachStart(t *testing.T) {
	b := newBench(t)
	b.fake.CountEachStart(true)
	for range 5 {
		if got := b.fake.Start(); got != slots.A {
			t.Fatalf("started %q", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		before := len(b.said)
		_, done := b.start(ctx)
		waitFor(t, func() bool { st, _ := b.fake.Status(); return st.Left[slots.A] == slots.Tries })
		cancel()
		<-done
		if got := b.last(); len(b.said) != before+1 || !got.Booted || got.Update != "" || got.Running.Version != "1.0" || got.Running.Slot != "A" {
			t.Errorf("got %+v", got)
		}
	}
}

// TestInstalledByHand: a firmware that was installed by hand while an update was on
// its way proves itself as any other, and the update goes on afterwards.
func TestInstalledByHand(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	doc := updateDocument("u", 1, file)
	b.handler = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	ctx, cancel := context.WithCancel(t.Context())
	_, done := b.start(ctx, doc)
	waitFor(t, func() bool { return b.last().State == updates.Downloading })
	cancel()
	<-done
	if err := b.fake.Install(t.Context(), strings.NewReader("by hand"), 7); err != nil {
		t.Fatal(err)
	}
	b.fake.Start()
	b.handler = nil
	last := b.await(doc)
	if last.State != updates.Confirmed || last.Running.Slot != "A" || string(b.fake.Content(slots.B)) != "by hand" {
		t.Errorf("got %+v", last)
	}
}

// TestLostBootState: when nobody knows which slot was confirmed, what runs is written down as what is to run.
func TestLostBootState(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	place := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"state", "a", "b"} {
		if err := os.WriteFile(place(name), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	board, err := uboot.Open(uboot.Config{
		State: place("state"), Images: map[slots.Slot]string{slots.A: place("a"), slots.B: place("b")}, Booted: slots.B,
	})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := board.Status(); err != nil || st.Problem == "" {
		t.Fatalf("got %+v, %v; want a problem", st, err)
	}
	b.slots = board
	ctx, cancel := context.WithCancel(t.Context())
	_, done := b.start(ctx)
	waitFor(t, func() bool {
		st, err := board.Status()
		return err == nil && st.Problem == "" && st.Order[0] == slots.B && st.Left[slots.B] == slots.Tries
	})
	cancel()
	<-done
}

// TestLostJournal: the data partition was lost while the new firmware was on trial.
func TestLostJournal(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"lost":    func(name string) error { return os.Remove(name) },
		"damaged": func(name string) error { return os.WriteFile(name, []byte("\xa1\x61v\x01"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			file, _ := b.file(8, 1000)
			_, done := b.start(t.Context(), updateDocument("u", 1, file))
			if err := <-done; !errors.Is(err, update.ErrRestart) {
				t.Fatal(err)
			}
			b.fake.Start()
			if err := damage(filepath.Join(b.dir, "journal.cbor")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			_, done = b.start(ctx)
			waitFor(t, func() bool { last := b.last(); return last.Running.Slot == "B" && !last.Running.Trial })
			cancel()
			<-done
		})
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// TestRevision: only a document that can be read and is this device's can be used.
func TestRevision(t *testing.T) {
	revision := update.Revision("tcu")
	doc := func(id updates.ID, device protocol.DeviceID) []byte {
		d := updateDocument(id, 5, []byte("file"))
		d.Device = device
		return encode(t, d)
	}
	if n, usable := revision(doc("u1", "tcu")); n != 5 || !usable {
		t.Errorf("got revision %d, usable %v", n, usable)
	}
	for name, text := range map[string][]byte{
		"garbled": []byte("\xa1ab"), "not valid": doc("", "tcu"), "another device's": doc("u2", "head-unit"),
	} {
		if _, usable := revision(text); usable {
			t.Errorf("%s: it can be used", name)
		}
	}
}
