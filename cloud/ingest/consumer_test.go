package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
)

// taker is a consumer of everything that refuses what refuse says, and remembers what it took.
type taker struct {
	mu     sync.Mutex // guards the rest
	took   []string
	refuse func(name string) error
	offers int
}

func (s *taker) take(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers++
	if s.refuse != nil {
		if err := s.refuse(name); err != nil {
			return err
		}
	}
	s.took = append(s.took, name)
	return nil
}

func (s *taker) set(refuse func(name string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

func (s *taker) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.took)
}

func (s *taker) offered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers
}

func (s *taker) consumer(name string) ingest.Consumer {
	return ingest.Consumer{
		Name: name,
		Batch: func(_ context.Context, b *ingest.Decoded) error {
			return s.take(fmt.Sprint(b.Vehicle, ".", b.Header.ID.Seq))
		},
		Word: func(_ context.Context, m *ingest.Word) error {
			return s.take(fmt.Sprint(m.Topic.Vehicle, ".", m.ID.Seq))
		},
	}
}

var errNotNow = errors.New("not now")

func always(string) error { return errNotNow }

// only refuses the messages of one vehicle.
func only(vehicle string) func(string) error {
	return func(name string) error {
		if len(name) > len(vehicle) && name[:len(vehicle)] == vehicle {
			return errNotNow
		}
		return nil
	}
}

// names are those of a vehicle's messages.
func names(vehicle string, seqs ...uint64) (list []string) {
	for _, seq := range seqs {
		list = append(list, fmt.Sprint(vehicle, ".", seq))
	}
	return list
}

func of(vehicle string, list []string) (out []string) {
	for _, name := range list {
		if len(name) > len(vehicle) && name[:len(vehicle)+1] == vehicle+"." {
			out = append(out, name)
		}
	}
	return out
}

// word is a message that is no telemetry.
func (k *maker) word(seq uint64) ingest.Message {
	m := k.message([]byte("word"), k.id(seq).String())
	m.Header[ingest.HeaderTopic] = "v1/" + string(k.vehicle) + "/up/event/word"
	return m
}

func to(seq uint64) (list []uint64) {
	for s := uint64(1); s <= seq; s++ {
		list = append(list, s)
	}
	return list
}

// TestConsumerComesBack: while a consumer refuses everything the lake and another consumer go on; when
// it comes back it gets each message once, those of a vehicle in order, also those that no longer are in memory.
func TestConsumerComesBack(t *testing.T) {
	const each = 400 // more than waits in memory
	b := newBench(t)
	ill, well := &taker{refuse: always}, &taker{}
	b.config = func(c *ingest.ProcessorConfig) {
		c.Consumers = []ingest.Consumer{ill.consumer("ill"), well.consumer("well")}
	}
	k := b.maker
	for seq := uint64(1); seq <= each; seq++ {
		for _, vehicle := range []protocol.VehicleID{"car1", "car2"} {
			k.vehicle = vehicle
			if seq%2 == 0 {
				b.up.Publish(k.word(seq), func(uint64, error) {})
			} else {
				k.send(b.up, seq)
			}
			if seq%10 == 0 { // again, as after a lost PUBACK
				b.up.Publish(k.word(seq), func(uint64, error) {})
			}
		}
	}
	p, stop := b.start()
	b.flush(p)
	if got := p.Checkpoint(); got != 2*each+2*each/10 {
		t.Errorf("the lake is at %d, want %d", got, 2*each+2*each/10)
	}
	if got := len(well.list()); got != 2*each {
		t.Errorf("the other consumer took %d messages, want %d", got, 2*each)
	}
	if got := p.Needed(); got != 0 {
		t.Errorf("the stream may forget up to %d, want nothing", got)
	}
	if s := p.Consumers()[0]; !s.Failing || s.Owed != 2*each || s.Refused == 0 {
		t.Errorf("got %+v, want all owed", s)
	}
	ill.set(nil)
	wait(t, "all messages", func() bool { return len(ill.list()) >= 2*each })
	b.flush(p)
	for _, vehicle := range []string{"car1", "car2"} {
		for name, s := range map[string]*taker{"ill": ill, "well": well} {
			if got, want := of(vehicle, s.list()), names(vehicle, to(each)...); !slices.Equal(got, want) {
				t.Errorf("%s of %s: got %d messages, not each once and in order", vehicle, name, len(got))
			}
		}
	}
	if got := p.Needed(); got != p.Checkpoint() {
		t.Errorf("the stream may forget up to %d, want %d", got, p.Checkpoint())
	}
	if got := len(b.dead.all()); got != 0 {
		t.Errorf("got %d dead letters, want none", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestOneVehicleIsRefused: only that vehicle waits, and it gets its messages in order afterwards.
func TestOneVehicleIsRefused(t *testing.T) {
	b := newBench(t)
	s := &taker{refuse: only("car1")}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	k := b.maker
	for seq := uint64(1); seq <= 20; seq++ {
		for _, vehicle := range []protocol.VehicleID{"car1", "car2"} {
			k.vehicle = vehicle
			b.up.Publish(k.word(seq), func(uint64, error) {})
		}
	}
	p, _ := b.start()
	wait(t, "the other vehicle's messages", func() bool { return len(s.list()) == 20 })
	if got := s.list(); !slices.Equal(got, names("car2", to(20)...)) {
		t.Errorf("got %v", got)
	}
	if got := p.Consumers()[0].Owed; got != 20 {
		t.Errorf("got %d owed, want 20", got)
	}
	s.set(nil)
	wait(t, "all messages", func() bool { return len(s.list()) == 40 })
	if got := of("car1", s.list()); !slices.Equal(got, names("car1", to(20)...)) {
		t.Errorf("got %v, want them in order", got)
	}
}

// TestConsumerOverRestarts: what a consumer refused, or took and did not save, comes again after a crash; what it
// saved does not.
func TestConsumerOverRestarts(t *testing.T) {
	b := newBench(t)
	s := &taker{refuse: only("car1")}
	var notSaved error
	b.config = func(c *ingest.ProcessorConfig) {
		consumer := s.consumer("told")
		consumer.Save = func(context.Context) error { return notSaved }
		c.Consumers = []ingest.Consumer{consumer}
	}
	k := b.maker
	publish := func(seqs ...uint64) {
		for _, seq := range seqs {
			for _, vehicle := range []protocol.VehicleID{"car1", "car2"} {
				k.vehicle = vehicle
				b.up.Publish(k.word(seq), func(uint64, error) {})
			}
		}
	}
	publish(1, 2, 3)
	p, stop := b.start()
	wait(t, "car2", func() bool { return len(s.list()) == 3 })
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	publish(4)
	notSaved = errors.New("disk full")
	p, stop = b.start()
	wait(t, "car2", func() bool { return len(s.list()) == 4 })
	b.flush(p)
	if got, want := s.list(), names("car2", 1, 2, 3, 4); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: each once", got, want)
	}
	if got := p.Checkpoint(); got != 8 {
		t.Errorf("the lake is at %d, want 8: what cannot be saved does not hold it up", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	notSaved = nil
	s.set(nil)
	p, stop = b.start()
	wait(t, "car1", func() bool { return len(of("car1", s.list())) == 4 })
	b.flush(p)
	if got, want := of("car2", s.list()), names("car2", 1, 2, 3, 4, 4); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: again only what was not saved", got, want)
	}
	if got, want := of("car1", s.list()), names("car1", 1, 2, 3, 4); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	before := len(s.list())
	p, _ = b.start()
	b.flush(p)
	if got := len(s.list()); got != before {
		t.Errorf("%d messages came again after a clean stop", got-before)
	}
}

// TestConsumerNeverAgain: after the patience what is refused becomes dead letters, counted and
// named; a replay brings each back to that consumer alone.
func TestConsumerNeverAgain(t *testing.T) {
	b := newBench(t)
	ill, well := &taker{refuse: always}, &taker{}
	b.config = func(c *ingest.ProcessorConfig) {
		c.Consumers, c.Patience = []ingest.Consumer{ill.consumer("ill"), well.consumer("well")}, time.Millisecond
	}
	k := b.maker
	k.send(b.up, 1)
	b.up.Publish(k.word(2), func(uint64, error) {})
	p, stop := b.start()
	wait(t, "the dead letters", func() bool { return p.Consumers()[0].Dead == 2 })
	b.flush(p)
	letters := b.dead.all()
	if len(letters) != 2 || ill.offered() < 4 {
		t.Fatalf("got %d letters after %d offers, want 2 after four at least", len(letters), ill.offered())
	}
	for i, l := range letters {
		if l.Header[ingest.HeaderReason] != string(reasons.Consumer) || l.Header[ingest.HeaderConsumer] != "ill" ||
			l.Subject != "dead.UP.CONSUMER_FAILED" || l.Header[ingest.HeaderOrigin] != fmt.Sprint("UP/", i+1) ||
			l.Header[ingest.HeaderDetail] != "ill: not now" {
			t.Errorf("got letter %v at %s", l.Header, l.Subject)
		}
	}
	if got := p.Needed(); got != 2 {
		t.Errorf("the stream may forget up to %d, want 2", got)
	}
	r := ingest.Replayer{Dead: b.dead, Publisher: streams{"up": b.up}}
	for range 2 { // the first one fails again: its letter stays, and no second one is written
		if got, err := r.Replay(t.Context(), ingest.Filter{}); err != nil || got.Published != 2 {
			t.Fatalf("got %+v %v, want 2 published", got, err)
		}
		wait(t, "the replay to be refused or taken", func() bool { b.flush(p); p.Relieve(); return p.Consumers()[0].Owed == 0 })
		if got := len(b.dead.all()); got != 2 {
			t.Fatalf("got %d letters, want 2", got)
		}
		ill.set(nil)
	}
	if got, want := ill.list(), names("car1", 1, 2); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := well.list(), names("car1", 1, 2); !slices.Equal(got, want) {
		t.Errorf("the other consumer: got %v, want %v", got, want)
	}
	if count := stored(t, b.dir); count["car1/"+k.id(1).String()] != 2*rowsPerBatch {
		t.Errorf("got %v rows, want each once", count)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestConsumerUnreadable: what will never be better is a dead letter at once, and nothing waits for it.
func TestConsumerUnreadable(t *testing.T) {
	b := newBench(t)
	s := &taker{refuse: func(name string) error {
		if name == "car1.1" {
			return fmt.Errorf("%w: junk", ingest.ErrUnreadable)
		}
		return nil
	}}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	b.up.Publish(b.maker.word(1), func(uint64, error) {})
	b.up.Publish(b.maker.word(2), func(uint64, error) {})
	p, _ := b.start()
	b.flush(p)
	if got := s.list(); !slices.Equal(got, names("car1", 2)) || s.offered() != 2 {
		t.Errorf("got %v after %d offers", got, s.offered())
	}
	if l := b.dead.all(); len(l) != 1 || l[0].Header[ingest.HeaderReason] != string(reasons.Undecodable) {
		t.Errorf("got %d letters, want one", len(l))
	}
}

// TestRelief: when the stream needs the room, what a consumer refuses and the lake has becomes dead letters
// before its time. What is refused later, when nothing needs the room, stays.
func TestRelief(t *testing.T) {
	b := newBench(t)
	s := &taker{refuse: always}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	for seq := uint64(1); seq <= 3; seq++ {
		b.up.Publish(b.maker.word(seq), func(uint64, error) {})
	}
	p, _ := b.start()
	wait(t, "a refusal", func() bool { return p.Consumers()[0].Failing })
	b.flush(p)
	p.Relieve()
	wait(t, "three dead letters", func() bool { return p.Consumers()[0].Dead == 3 })
	b.flush(p)
	if got := p.Needed(); got != 3 || len(b.dead.all()) != 3 {
		t.Errorf("the stream may forget up to %d with %d letters, want 3 and 3", got, len(b.dead.all()))
	}
	b.up.Publish(b.maker.word(4), func(uint64, error) {})
	b.flush(p)
	if got := p.Consumers()[0]; got.Dead != 3 || got.Owed != 1 {
		t.Errorf("after the relief: got %+v, want one owed and no further letter", got)
	}
}

// TestReliefWithoutLetters: a message that a consumer cannot read stays while dead letters are full; when the stream
// needs the room, too, its letter is given up and counted, and all others go on.
func TestReliefWithoutLetters(t *testing.T) {
	b := newBench(t)
	s := &taker{refuse: func(name string) error {
		if name == "car1.1" {
			return fmt.Errorf("%w: junk", ingest.ErrUnreadable)
		}
		return nil
	}}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	b.dead.fail = func(ingest.Message) error { return ingest.ErrFull }
	for seq := uint64(1); seq <= 3; seq++ {
		b.up.Publish(b.maker.word(seq), func(uint64, error) {})
	}
	p, _ := b.start()
	wait(t, "a refusal", func() bool { return p.Consumers()[0].Failing })
	b.flush(p)
	if p.Needed() != 0 || p.Stats().DeadLost != 0 {
		t.Errorf("while there is room: the stream may forget up to %d, %d letters lost, want none", p.Needed(), p.Stats().DeadLost)
	}
	wait(t, "the relief", func() bool { p.Relieve(); return p.Stats().DeadLost == 1 })
	wait(t, "the others", func() bool { return len(s.list()) == 2 })
	b.flush(p)
	if got := p.Consumers()[0]; got.Dead != 0 || got.Owed != 0 || p.Needed() != 3 {
		t.Errorf("the stream may forget up to %d, want 3; got %+v", p.Needed(), got)
	}
}

// TestReliefOfUnsaved: what a consumer took and can never make durable holds the stream up only until it needs the room.
func TestReliefOfUnsaved(t *testing.T) {
	b := newBench(t)
	s := &taker{}
	b.config = func(c *ingest.ProcessorConfig) {
		consumer := s.consumer("told")
		consumer.Save = func(context.Context) error { return errors.New("its store is broken") }
		c.Consumers = []ingest.Consumer{consumer}
	}
	b.up.Publish(b.maker.word(1), func(uint64, error) {})
	b.up.Publish(b.maker.word(2), func(uint64, error) {})
	p, _ := b.start()
	b.flush(p)
	if got := p.Needed(); got != 0 || p.Checkpoint() != 2 {
		t.Errorf("the stream may forget up to %d, the lake is at %d, want 0 and 2", got, p.Checkpoint())
	}
	p.Relieve()
	b.flush(p)
	if got := p.Consumers()[0].Gone; got != 2 || p.Needed() != 2 {
		t.Errorf("the stream may forget up to %d, %d counted, want 2 and 2", p.Needed(), got)
	}
}

// TestConsumerOfAnotherStream: a checkpoint beyond the stream's end, of a stream before it, swallows no message of the new one.
func TestConsumerOfAnotherStream(t *testing.T) {
	b := newBench(t)
	s := &taker{}
	b.config = func(c *ingest.ProcessorConfig) { c.Consumers = []ingest.Consumer{s.consumer("told")} }
	b.places.all = map[string][]byte{"UP/told": {1, 0xe8, 0x07, 2, 2 * 1, 0, 2 * 7, 0}} // version 1, read 1000, without 2 and 10
	for seq := uint64(1); seq <= 3; seq++ {
		b.up.Publish(b.maker.word(seq), func(uint64, error) {})
	}
	p, stop := b.start()
	b.flush(p)
	if got, want := s.list(), names("car1", 1, 2, 3); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.up.Publish(b.maker.word(4), func(uint64, error) {})
	p, _ = b.start()
	b.flush(p)
	if got, want := s.list(), names("car1", 1, 2, 3, 4); !slices.Equal(got, want) || p.Needed() != 4 {
		t.Errorf("after a restart: got %v, want %v; the stream may forget up to %d, want 4", got, want, p.Needed())
	}
}
