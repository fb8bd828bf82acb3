package backbone

import (
	"context"
	"errors"
	"time"
)

// What the tests of parsing and of the queue's bounds need from inside.
const (
	QueueMessages = queueMessages
	QueueBytes    = queueBytes
	BatchMessages = batchMessages
)

// WithFree makes a backbone believe that so much of its disk is free.
func WithFree(cfg Config, free func(string) (int64, error)) Config {
	cfg.free = free
	return cfg
}

// Hurried makes a backbone look after itself more often, so that a test need not wait for it.
func Hurried(cfg Config) Config {
	cfg.watchEvery, cfg.reviveEvery = 10*time.Millisecond, 50*time.Millisecond
	cfg.timerTick = 10 * time.Millisecond
	return cfg
}

// SetClock is a clock for timers: the time of day and the time since the start.
func SetClock(cfg Config, wall func() time.Time, elapsed func() time.Duration) Config {
	cfg.clock = clock{wall, elapsed}
	return cfg
}

// HoldInDoubt makes it doubtful whether a timer is there, which nobody can find out until release.
func HoldInDoubt(t *Timers, owner, key string) (release func()) {
	id := timerID{t.kind, owner, key}
	release, _ = t.book.turn(context.Background(), id)
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.book.doubts[id] = doubt{}
	return release
}

// LateRecord has the answer to the record of a timer be lost, and gives what writes the record after all.
func LateRecord(t *Timers, timer Timer) (write func() error) {
	id := timerID{t.kind, timer.Owner, timer.Key}
	reserved, _, err := t.book.reserve(id, &timer)
	t.book.give(id, reserved, true)
	return func() error {
		stored := make(chan error, 1)
		t.owner.Publish(timer.record(t.kind), func(_ uint64, err error) { stored <- err })
		return errors.Join(err, <-stored)
	}
}

// SetPatience sets how long a list waits for its next entry.
func SetPatience(b *Backbone, d time.Duration) { b.patience = d }

// Format of a record of a grouped stream.
const (
	MaxGroup        = maxGroup
	KeptRecords     = keptRecords
	SequencesHeader = sequencesHeader
)

// EncodeGroup makes the data of a record.
func EncodeGroup(messages ...Message) []byte {
	data := []byte{groupVersion}
	for i := range messages {
		data = append(appendHead(data, &messages[i]), messages[i].Data...)
	}
	return data
}

// DecodeGroup reads the data of record 1 from a sequence on.
func DecodeGroup(data []byte, last, from uint64) ([]Message, error) {
	return readGroup(record{1, span{1, last}}, data, from)
}

// Records is how many records a stream has.
func Records(ctx context.Context, b *Backbone, stream string) (uint64, error) {
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.Msgs, nil
}

// ForgetRecords makes a backbone find the records of a stream anew, as after a start.
func ForgetRecords(b *Backbone, stream string) { b.declared.Load().names[stream].index.forget() }

func EncodeKey(key string) (string, error)  { return encodeKey(key) }
func DecodeKey(form string) (string, error) { return decodeKey(form) }
func Redact(text string) string             { return redact(text) }
