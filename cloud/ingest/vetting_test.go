package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
)

// TestRereadSeesWhatLiveSaw: what a consumer reads again after a restart is what it saw before: no batch that
// the processor made a dead letter of, and no second letter for one. A batch that was good and is not by the bounds of now
// becomes a dead letter of that consumer.
func TestRereadSeesWhatLiveSaw(t *testing.T) {
	b := newBench(t)
	k, s := b.maker, &taker{}
	times := ingest.Times{}
	saved := errors.New("disk full")
	b.config = func(c *ingest.ProcessorConfig) {
		consumer := s.consumer("told")
		consumer.Save = func(context.Context) error { return saved }
		c.Consumers, c.Times = []ingest.Consumer{consumer}, times
	}
	publish := func(m ingest.Message) { b.up.Publish(m, func(uint64, error) {}) }
	now := time.Now()
	publish(k.message(k.at(1, now), k.id(1).String()))
	publish(k.message(k.at(2, now.Add(time.Hour)), k.id(2).String())) // ahead
	publish(k.message([]byte("no batch"), k.id(3).String()))          // cannot be read
	publish(k.message(k.at(4, now), k.id(5).String()))                // of another number
	elsewhere := k.message(k.at(6, now), k.id(6).String())            // of another campaign
	elsewhere.Header[ingest.HeaderTopic] = "v1/" + string(k.vehicle) + "/up/telemetry/other"
	publish(elsewhere)
	publish(k.message(k.at(7, now), k.id(7).String()))
	for i := range b.up.messages {
		b.up.messages[i].Header[ingest.HeaderReceived] = fmt.Sprint(now.UnixMicro())
	}
	times.Ahead = 5 * time.Minute
	p, stop := b.start()
	b.flush(p)
	want := s.list()
	letters := len(b.dead.all())
	if len(want) != 2 || letters != 4 {
		t.Fatalf("got %v and %d dead letters, want two batches and 4", want, letters)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	p, stop = b.start() // nothing was saved
	wait(t, "the batches", func() bool { return len(s.list()) >= 4 })
	b.flush(p)
	if got := s.list()[2:]; !slices.Equal(got, want) || len(b.dead.all()) != letters {
		t.Errorf("got %v and %d dead letters, want %v and %d", got, len(b.dead.all()), want, letters)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for i := range b.up.messages { // as if they had come later
		b.up.messages[i].Header[ingest.HeaderReceived] = fmt.Sprint(now.AddDate(1, 0, 0).UnixMicro())
	}
	times.Late, saved = time.Hour, nil
	p, _ = b.start()
	wait(t, "the letters", func() bool { return len(b.dead.all()) == letters+2 })
	b.flush(p)
	if got := s.list(); len(got) != 4 {
		t.Errorf("got %v, want nothing that is beyond the bounds of now", got)
	}
	for _, letter := range b.dead.all()[letters:] {
		if letter.Header[ingest.HeaderConsumer] != "told" {
			t.Errorf("got a letter for %q, want those for the consumer", letter.Header[ingest.HeaderConsumer])
		}
	}
}

// hushed is a stream that gives nothing until it may.
type hushed struct {
	*memory
	may   atomic.Bool
	reads atomic.Int64
}

func (s *hushed) Read(ctx context.Context, from uint64, limit int, wait time.Duration) ([]ingest.Message, error) {
	s.reads.Add(1)
	if !s.may.Load() {
		return nil, nil
	}
	return s.memory.Read(ctx, from, limit, wait)
}

// TestFlushSilence: a stream that gives nothing for a while has not ended: a flush waits for what it says it has.
func TestFlushSilence(t *testing.T) {
	b := newBench(t)
	s := &hushed{memory: b.up}
	b.config = func(c *ingest.ProcessorConfig) { c.Stream = s }
	b.maker.vehicle = protocol.VehicleID("car1")
	b.maker.send(b.up, 1, 2, 3)
	p, _ := b.start()
	ended := make(chan error, 1)
	go func() { ended <- p.Flush(t.Context()) }()
	for from := s.reads.Load(); s.reads.Load() < from+50; {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("got %v while the stream was silent, want the flush to wait", err)
	default:
	}
	s.may.Store(true)
	if err := <-ended; err != nil || p.Checkpoint() != 3 {
		t.Errorf("got %v and a checkpoint of %d, want all three messages", err, p.Checkpoint())
	}
}
