package storage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/outbox"
	"telltale.dev/agent/storage"
	note "telltale.dev/hal/storage"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device is a data folder with a real buffer, and a note on another file system as far as the Reporter knows.
type device struct {
	t      *testing.T
	data   string
	note   string
	buffer *buffer.Buffer
	log    bytes.Buffer
	refuse int // that many appends
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, note: filepath.Join(t.TempDir(), "data-lost")}
	d.fresh()
	return d
}

// fresh is a new, empty data folder.
func (d *device) fresh() {
	d.t.Helper()
	d.data = d.t.TempDir()
	var err error
	if d.buffer, err = buffer.Open(buffer.Config{Dir: filepath.Join(d.data, "buffer")}); err != nil {
		d.t.Fatal(err)
	}
	b := d.buffer
	d.t.Cleanup(func() { b.Close() })
}

// Append implements outbox.Buffer.
func (d *device) Append(recs []buffer.Record, p buffer.Progress) error {
	if d.refuse > 0 {
		d.refuse--
		return errors.New("no room")
	}
	return d.buffer.Append(recs, p)
}

func (d *device) leave(n note.Note) {
	d.t.Helper()
	if err := note.Write(d.note, n); err != nil {
		d.t.Fatal(err)
	}
}

// start is a start of the agent.
func (d *device) start() {
	d.t.Helper()
	storage.New(storage.Config{
		Note: d.note, Dir: d.data, Device: "tcu", Outbox: outbox.New(outbox.Config{Vehicle: "anna", Device: "tcu", Buffer: d}), Retry: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&d.log, nil)),
	}).Run(d.t.Context())
}

// waiting are the events in the buffer.
func (d *device) waiting() (found []events.Storage) {
	d.t.Helper()
	entries, err := d.buffer.Read(buffer.Position{}, protocol.CS5, 100, 1<<20)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		var s events.Storage
		if err := errors.Join(document.Unmarshal(e.Record.Payload, &s), s.Validate()); err != nil {
			d.t.Error(err)
		}
		if r := e.Record; r.Topic != "v1/anna/up/event/storage" || !r.Ordered || r.TTL != 0 || r.ContentType != protocol.ContentStorage {
			d.t.Errorf("got record %+v", r)
		}
		found = append(found, s)
	}
	return found
}

// TestTellsOnce: a loss is told once, however often the agent starts, and waits for the cloud on disk.
func TestTellsOnce(t *testing.T) {
	d := newDevice(t)
	d.leave(note.Note{State: events.StorageRecreated, Reason: "superblock: read /dev/vda6: EOF", Boot: "b1"})
	d.start()
	d.start()
	if err := d.buffer.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.buffer, err = buffer.Open(buffer.Config{Dir: filepath.Join(d.data, "buffer")}); err != nil {
		t.Fatal(err)
	}
	defer d.buffer.Close()
	d.start()
	told := d.waiting()
	if len(told) != 1 || told[0].State != events.StorageRecreated || told[0].Reason != "superblock: read (path): EOF" ||
		told[0].Loss == "" || time.Since(time.UnixMilli(told[0].At)) > time.Minute {
		t.Fatalf("got %+v, want the loss once", told)
	}
	if text := d.log.String(); !strings.Contains(text, "is lost") || strings.Contains(text, d.data) {
		t.Errorf("got log %s", text)
	}
	// The next start of the machine finds everything there.
	if err := os.Remove(d.note); err != nil {
		t.Fatal(err)
	}
	d.start()
	if told = d.waiting(); len(told) != 2 || told[1].State != events.StorageKept || told[1].Device != "tcu" {
		t.Errorf("got %+v, want the loss and that the next start was in order", told)
	}
	// Another loss takes with it what was remembered of the first.
	d.fresh()
	d.leave(note.Note{State: events.StorageMemoryOnly, Reason: "no such partition", Boot: "b3"})
	d.start()
	d.start()
	if told = d.waiting(); len(told) != 1 || told[0].State != events.StorageMemoryOnly {
		t.Errorf("got %+v, want the second loss once", told)
	}
	// So does one that left the folder as it was.
	d.leave(note.Note{State: events.StorageMemoryOnly, Reason: "no such partition", Boot: "b4"})
	d.start()
	if told = d.waiting(); len(told) != 2 || told[0].Loss == told[1].Loss {
		t.Errorf("got %+v, want two losses", told)
	}
}

// TestRefusals: a disk that is full for a while, and one that stays so.
func TestRefusals(t *testing.T) {
	d := newDevice(t)
	d.leave(note.Note{State: events.StorageRecreated})
	d.refuse = 3
	d.start()
	if told := d.waiting(); len(told) != 1 {
		t.Errorf("got %+v", told)
	}
	if text := d.log.String(); strings.Count(text, "not stored yet") != 1 {
		t.Errorf("got log %s, want one line on it", text)
	}
	d.fresh()
	d.refuse = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	storage.New(storage.Config{Note: d.note, Dir: d.data, Device: "tcu", Outbox: outbox.New(outbox.Config{Vehicle: "anna", Device: "tcu", Buffer: d}), Log: slog.New(slog.DiscardHandler)}).Run(ctx)
	if ctx.Err() == nil {
		t.Error("it gave up before the agent ended")
	}
}

// TestForgets: what is remembered cannot be written or read; the loss is told again, with the same name.
func TestForgets(t *testing.T) {
	d := newDevice(t)
	d.leave(note.Note{State: events.StorageRecreated})
	if err := os.Mkdir(filepath.Join(d.data, "loss-told"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.start()
	d.start()
	if told := d.waiting(); len(told) != 2 || told[0].Loss != told[1].Loss {
		t.Errorf("got %+v", told)
	}
	if text := d.log.String(); !strings.Contains(text, "may be told again") || strings.Contains(text, d.data) {
		t.Errorf("got log %s", text)
	}
}

// TestUnusable: a note that nobody understands is said in the log, and nothing is told of it.
func TestUnusable(t *testing.T) {
	d := newDevice(t)
	if err := os.WriteFile(d.note, []byte("in memory only\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	if told, text := d.waiting(), d.log.String(); len(told) != 0 || !strings.Contains(text, "data-lost: line 1: expected storage") {
		t.Errorf("got %+v and log %s", told, text)
	}
	d.log.Reset()
	d.note = t.TempDir() // cannot be read as a file
	d.start()
	if told, text := d.waiting(), d.log.String(); len(told) != 0 || !strings.Contains(text, "level=ERROR") {
		t.Errorf("got %+v and log %s", told, text)
	}
	d.note = ""
	d.log.Reset()
	if d.start(); len(d.waiting()) != 0 || d.log.Len() != 0 {
		t.Errorf("got %s without a note configured", d.log.String())
	}
}
