package slots_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/slotstest"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// serve lets an owner answer, and gives slots that ask it. Both end with the test.
func serve(t *testing.T, o *slots.Owner) (socket string, r *slots.Remote) {
	t.Helper()
	dir, err := os.MkdirTemp("", "slots") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return socket, slots.NewRemote(socket)
}

// sized are slots whose images bring their size as the header.
type sized struct{ slots.Slots }

func (s sized) Install(ctx context.Context, image io.Reader, size int64) error {
	header := binary.BigEndian.AppendUint64(nil, uint64(size))
	return s.Slots.Install(ctx, slots.SignedImage{Reader: image, Header: header}, size)
}

// TestRemote: slots that another process owns do what its own slots do.
func TestRemote(t *testing.T) {
	slotstest.Run(t, func(t *testing.T) slotstest.Board {
		const capacity = 3<<16 + 512 // more than one chunk, and no multiple of it
		fake := slotstest.NewFake(capacity)
		o := &slots.Owner{Slots: fake, Policy: firmware.Policy{AllowDowngrade: true}, Note: filepath.Join(t.TempDir(), "note"), Say: t.Logf}
		o.JudgeBy(func(r io.Reader) (io.Reader, int64, error) {
			var size [8]byte
			_, err := io.ReadFull(r, size[:])
			return r, int64(binary.BigEndian.Uint64(size[:])), err
		})
		_, remote := serve(t, o)
		return slotstest.Board{
			Slots: func() slots.Slots { return sized{remote} }, Start: fake.Start, Spoil: fake.Spoil,
			LoseState: fake.LoseState, Content: fake.Content, Capacity: capacity,
		}
	})
}

// maker signs update files.
type maker struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func newMaker(t *testing.T) (maker, signed.Keys) {
	t.Helper()
	private, public, err := signed.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signed.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signed.ParseKeys(public)
	if err != nil {
		t.Fatal(err)
	}
	return maker{t, key}, keys
}

// update gives an update file's image and what it is.
func (m maker) update(board string, release uint64, payload string) slots.SignedImage {
	m.t.Helper()
	var file bytes.Buffer
	if _, err := firmware.Sign(&file, firmware.Manifest{Board: board, Version: "1", Release: release}, strings.NewReader(payload), m.key); err != nil {
		m.t.Fatal(err)
	}
	header := bytes.Clone(file.Bytes()[:file.Len()-len(payload)])
	return slots.SignedImage{Reader: strings.NewReader(payload), Header: header}
}

// device is a fake board with its owner, held to rules; a start is that of a firmware of its release.
type device struct {
	t      *testing.T
	fake   *slotstest.Fake
	keys   signed.Keys
	note   string
	remote *slots.Remote
}

func newDevice(t *testing.T, keys signed.Keys) *device {
	return &device{t: t, fake: slotstest.NewFake(4096), keys: keys, note: filepath.Join(t.TempDir(), "note")}
}

// start starts the machine, and in it the firmware of the release that its slot has.
func (d *device) start(releases map[slots.Slot]uint64) slots.Slot {
	d.t.Helper()
	slot := d.fake.Start()
	_, d.remote = serve(d.t, &slots.Owner{
		Slots: d.fake, Policy: firmware.Policy{Keys: d.keys, Board: "board", Release: releases[slot]}, Note: d.note, Say: d.t.Logf,
	})
	if _, err := d.remote.Status(); err != nil { // the owner has begun
		d.t.Fatal(err)
	}
	return slot
}

func (d *device) install(u slots.SignedImage) error { return d.remote.Install(d.t.Context(), u, 0) }

// must wants no error.
func (d *device) must(errs ...error) {
	d.t.Helper()
	if err := errors.Join(errs...); err != nil {
		d.t.Fatal(err)
	}
}

// TestOwnerJudges: what is not signed, is for another board, older than what runs or was confirmed, or broken off never becomes
// startable, and nothing but a signed header takes the other slot out.
func TestOwnerJudges(t *testing.T) {
	ours, keys := newMaker(t)
	strangers, _ := newMaker(t)
	d := newDevice(t, keys)
	d.start(map[slots.Slot]uint64{"A": 100})
	other := ours.update("board", 101, "the right one")
	other.Reader = strings.NewReader("the wrong one")
	short := ours.update("board", 101, "the right one")
	short.Reader = strings.NewReader("the right")
	long := ours.update("board", 101, "the right one")
	long.Reader = strings.NewReader("the right one and more")
	for name, c := range map[string]struct {
		image io.Reader
		want  error
	}{
		"no header":         {strings.NewReader("image"), firmware.ErrNotUpdate},
		"an empty header":   {slots.SignedImage{Reader: strings.NewReader("image")}, firmware.ErrTruncated},
		"a stranger's":      {strangers.update("board", 101, "x"), signed.ErrWrongKey},
		"another board's":   {ours.update("other", 101, "x"), firmware.ErrWrongBoard},
		"an older release":  {ours.update("board", 99, "x"), firmware.ErrOlder},
		"another image":     {other, firmware.ErrCorrupt},
		"an image cut off":  {short, firmware.ErrTruncated},
		"bytes behind it":   {long, firmware.ErrCorrupt},
		"one that is large": {ours.update("board", 101, strings.Repeat("x", 4097)), slots.ErrSize},
	} {
		if err := d.remote.Install(t.Context(), c.image, 0); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if st, err := d.remote.Status(); err != nil || st.Next() != "A" || st.Bootable("B") {
			t.Errorf("%s: got %+v, %v, want A alone", name, st, err)
		}
	}
	d.must(d.install(ours.update("board", 100, "good")))
	if got := string(d.fake.Content("B")); got != "good" {
		t.Errorf("slot B: got %q", got)
	}
}

// TestOwnerRules: whatever the process asks for, the firmware that was confirmed last, or a newer one, is what is started.
func TestOwnerRules(t *testing.T) {
	ours, keys := newMaker(t)
	d := newDevice(t, keys)
	releases := map[slots.Slot]uint64{"A": 100, "B": 101}
	d.start(releases)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, slots.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", what, err)
		}
	}
	refused("rollback from a confirmed slot", d.remote.Rollback())
	refused("another slot preferred", d.remote.Prefer("B"))
	d.must(d.remote.Confirm(), d.remote.Prefer("A"), d.install(ours.update("board", 101, "new")))

	d.start(releases)
	d.must(d.remote.Rollback()) // on trial: back to the confirmed one,
	d.must(d.remote.Rollback()) // also when it is asked for again, since the machine was not restarted
	if got := d.start(releases); got != "A" {
		t.Fatalf("after the rollback: got %s, want A", got)
	}
	d.must(d.install(ours.update("board", 101, "new")))
	d.start(releases)
	d.must(d.remote.Confirm())
	refused("rollback to the older one", d.remote.Rollback())
	refused("the older one preferred", d.remote.Prefer("A"))

	d.fake.Spoil("B", true) // the boot loader cannot read the confirmed one
	if got := d.start(releases); got != "A" {
		t.Fatalf("got %s, want A", got)
	}
	refused("the older one confirmed", d.remote.Confirm())
	refused("the older one that runs preferred", d.remote.Prefer("A"))
	if err := d.install(ours.update("board", 100, "older than the confirmed one")); !errors.Is(err, firmware.ErrOlder) {
		t.Errorf("got %v, want ErrOlder", err)
	}
	d.must(d.remote.Prefer("B"))

	d.fake.LoseState() // A, then B, and only the note knows which was confirmed
	if got := d.start(releases); got != "A" {
		t.Fatalf("got %s, want A", got)
	}
	refused("the older one confirmed, the state lost", d.remote.Confirm())
	refused("the older one preferred, the state lost", d.remote.Prefer("A"))
	d.fake.Spoil("B", false)
	d.must(d.remote.Prefer("B"))
	if got := d.start(releases); got != "B" {
		t.Fatalf("got %s, want B", got)
	}
}

// TestReleaseNeverFalls: a former firmware that runs because the confirmed one cannot be read is not the way to older ones, also when an
// install in place of that was broken off, what runs was confirmed then, and the machine started again.
func TestReleaseNeverFalls(t *testing.T) {
	ours, keys := newMaker(t)
	d := newDevice(t, keys)
	releases := map[slots.Slot]uint64{"A": 100, "B": 105}
	d.start(releases)
	d.must(d.install(ours.update("board", 105, "new")))
	d.start(releases)
	d.must(d.remote.Confirm())
	d.fake.Spoil("B", true)
	if got := d.start(releases); got != "A" {
		t.Fatalf("got %s, want A", got)
	}
	off := ours.update("board", 105, "new again")
	off.Reader = strings.NewReader("new")
	if err := d.install(off); !errors.Is(err, firmware.ErrTruncated) {
		t.Fatalf("got %v, want ErrTruncated", err)
	}
	for _, when := range []string{"at once", "after a start"} {
		d.must(d.remote.Confirm()) // there is no other to be started
		if err := d.install(ours.update("board", 103, "between")); !errors.Is(err, firmware.ErrOlder) {
			t.Errorf("%s: got %v, want ErrOlder", when, err)
		}
		d.start(releases)
	}
	d.must(d.install(ours.update("board", 105, "new")))
}

// TestStateLostOnTrial: when the boot state is lost while a newer firmware is on trial in the first slot, it can still be
// confirmed, or given up for the one that was confirmed before.
func TestStateLostOnTrial(t *testing.T) {
	ours, keys := newMaker(t)
	for _, healthy := range []bool{true, false} {
		d := newDevice(t, keys)
		releases := map[slots.Slot]uint64{"A": 100, "B": 101}
		d.start(releases)
		d.must(d.install(ours.update("board", 101, "new")))
		d.start(releases)
		d.must(d.remote.Confirm(), d.install(ours.update("board", 102, "newer")))
		releases["A"] = 102
		d.start(releases)
		d.fake.LoseState()
		if got := d.start(releases); got != "A" {
			t.Fatalf("got %s, want A", got)
		}
		want := slots.A
		if healthy {
			d.must(d.remote.Confirm())
		} else {
			d.must(d.remote.Rollback())
			want = slots.B
		}
		if got := d.start(releases); got != want {
			t.Errorf("healthy %v: got %s, want %s", healthy, got, want)
		}
	}
}

// TestComplaints: who is refused again and again fills no log.
func TestComplaints(t *testing.T) {
	_, keys := newMaker(t)
	said := make(chan string, 100)
	_, remote := serve(t, &slots.Owner{
		Slots: slotstest.NewFake(4096), Policy: firmware.Policy{Keys: keys, Board: "board", Release: 1}, Note: filepath.Join(t.TempDir(), "note"),
		Say: func(format string, args ...any) { said <- fmt.Sprintf(format, args...) },
	})
	for range 50 {
		if err := remote.Rollback(); !errors.Is(err, slots.ErrRefused) {
			t.Fatalf("got %v, want ErrRefused", err)
		}
	}
	if n := len(said); n < 1 || n > 10 {
		t.Errorf("got %d lines for 50 refusals", n)
	}
}

// TestLostNote: without a note, or with a damaged one, a device goes on taking updates, and the release that runs still counts.
func TestLostNote(t *testing.T) {
	ours, keys := newMaker(t)
	d := newDevice(t, keys)
	for _, text := range []string{"", "damaged", "\xa1\x61v\x01"} {
		d.must(os.WriteFile(d.note, []byte(text), 0o600))
		d.fake.LoseState()
		releases := map[slots.Slot]uint64{"A": 100, "B": 100}
		d.start(releases)
		if err := d.install(ours.update("board", 99, "old")); !errors.Is(err, firmware.ErrOlder) {
			t.Errorf("%q: got %v, want ErrOlder", text, err)
		}
		d.must(d.remote.Confirm(), d.install(ours.update("board", 100, "new")))
		d.must(d.remote.Confirm())
	}
}

// TestStrangeRequests: bytes that are no request get an error or an end, change nothing, and the owner goes on.
func TestStrangeRequests(t *testing.T) {
	_, keys := newMaker(t)
	fake := slotstest.NewFake(4096)
	socket, remote := serve(t, &slots.Owner{
		Slots: fake, Policy: firmware.Policy{Keys: keys, Board: "board"}, Note: filepath.Join(t.TempDir(), "note"), Say: t.Logf,
	})
	before, err := remote.Status()
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{
		"", "\x00\x00", "\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x00\x00\x00\x05hello", "\x00\x00\x00\x0b\xa2\x61v\x09\x66action\x60",
		"\x00\x00\x00\x12\xa2\x61v\x01\x66action\x67install\xff\xff\xff\xff", // a chunk of 4 GiB
		"\x00\x00\x00\x12\xa2\x61v\x01\x66action\x67confirx",
	} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(conn); !strings.Contains(string(got), "error") {
			t.Errorf("request %d: got %q, want an error", i, got)
		}
		conn.Close()
	}
	if after, err := remote.Status(); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("got %+v, %v, want %+v", after, err, before)
	}
}

// TestLongError: an error that is too long for an answer arrives cut off, also in the middle of a letter, and as what it is.
func TestLongError(t *testing.T) {
	fake := slotstest.NewFake(4096)
	_, remote := serve(t, &slots.Owner{Slots: fake, Note: filepath.Join(t.TempDir(), "note"), Say: t.Logf})
	fake.Fail(func(string) error { return fmt.Errorf("x%s: %w", strings.Repeat("é", 1000), slots.ErrReadBack) })
	if err := remote.Confirm(); !errors.Is(err, slots.ErrReadBack) || !strings.HasPrefix(err.Error(), "xé") {
		t.Errorf("got %v, want ErrReadBack", err)
	}
}

// TestNoOwner: a socket that is not there is said without its path.
func TestNoOwner(t *testing.T) {
	_, err := slots.NewRemote(filepath.Join(t.TempDir(), "secret")).Status()
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the path", err)
	}
}
