// Package storage tells the cloud what the machine's start found of the data
// partition: that it was lost, once per loss, or that it is there.
//
// What it tells goes through the buffer, so that it waits for the next connection
// as long as need be. A loss that has been put there is remembered beside it, on
// the same partition: both are there after a restart, or none. It repairs nothing.
package storage

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/storage"
	"telltale.dev/protocol"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
)

// Outbox takes events; they are on disk when Put returns.
type Outbox interface {
	Put(t topics.Topic, content any) error
}

// Config of a Reporter. All but Note and Retry must be set.
type Config struct {
	// Note is the file that says what was lost; empty: nobody says, and nothing is told.
	Note   string
	Dir    string // that survives a restart, where the buffer is
	Device protocol.DeviceID
	Outbox Outbox
	Retry  time.Duration // between tries of what the disk refused; zero means 5 s
	Log    *slog.Logger
}

const defaultRetry = 5 * time.Second

// Reporter tells the cloud of a loss, once.
type Reporter struct{ cfg Config }

// New makes a Reporter; Run does the work.
func New(cfg Config) *Reporter {
	if cfg.Retry <= 0 {
		cfg.Retry = defaultRetry
	}
	return &Reporter{cfg}
}

// Run tells, and returns when that is on disk, or there is nothing to tell, or ctx ends.
func (t *Reporter) Run(ctx context.Context) {
	if t.cfg.Note == "" {
		return
	}
	event, err := t.event()
	if err != nil {
		t.cfg.Log.Error("the note on the data partition is unusable: whether data was lost is not told", "error", err)
		return
	}
	if event.State.Lost() {
		t.cfg.Log.Warn("what this device had stored is lost", "storage", event.State, "reason", event.Reason)
	}
	for complained := false; ; complained = true {
		if err := t.tell(event); err == nil {
			return
		} else if !complained {
			t.cfg.Log.Error("what became of the data partition is not stored yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(t.cfg.Retry):
		}
	}
}

// event is what there is to tell.
func (t *Reporter) event() (*events.Storage, error) {
	n, err := storage.Read(t.cfg.Note)
	if err != nil {
		return nil, err
	}
	event := &events.Storage{Version: 1, Device: t.cfg.Device, State: events.StorageKept, At: time.Now().UnixMilli()}
	if n != nil {
		event.State, event.Reason, event.Loss, event.At = n.State, n.Reason, n.Loss(), n.Written.UnixMilli()
	}
	return event, event.Validate()
}

// tell puts the event into the buffer, a loss only if that has not been done before.
// A power cut after that and before it is remembered lets it be told again, with the same name.
func (t *Reporter) tell(event *events.Storage) error {
	if event.State.Lost() && t.told() == event.Loss {
		return nil
	}
	err := t.cfg.Outbox.Put(topics.Topic{Kind: topics.Event, Name: events.TypeStorage}, event)
	if err == nil && event.State.Lost() {
		if err := durable.Replace(t.path(), []byte(event.Loss+"\n")); err != nil {
			t.cfg.Log.Warn("a loss of data may be told again", "error", err)
		}
	}
	return err
}

func (t *Reporter) path() string { return filepath.Join(t.cfg.Dir, "loss-told") }

// maxTold is more than the name of a loss has.
const maxTold = protocol.MaxIDLength + 1

// told is the loss that was told last; "" when there is none, or it cannot be read.
func (t *Reporter) told() string {
	text, err := os.ReadFile(t.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.cfg.Log.Warn("a loss of data may be told again", "error", durable.Plain(err))
	}
	if err != nil || len(text) == 0 || len(text) > maxTold {
		return ""
	}
	return string(text[:len(text)-1])
}
