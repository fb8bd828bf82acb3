package downlink_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

const vid = protocol.VehicleID("anna")

var (
	campaigns = topics.Topic{Kind: topics.Config, Vehicle: vid, Name: "campaigns"}
	firmware  = topics.Topic{Kind: topics.Config, Vehicle: vid, Name: "update"}
	unlock    = topics.Topic{Kind: topics.CommandRequest, Vehicle: vid, Name: "doors.unlock", ID: "e1"}
)

// answer is what the server is told.
type answer struct {
	payload string
	code    byte
}

// rig is a downlink that runs, with what was answered and taken.
type rig struct {
	*downlink.Downlink
	t    *testing.T
	stop func()

	mu      sync.Mutex // guards what follows
	answers []answer
	taken   []string
}

// config has a route for each topic of the tests, each of which only notes what it takes.
func (r *rig) config(dir string) downlink.Config {
	note := func(_ context.Context, m downlink.Message) { r.note(string(m.Payload)) }
	return downlink.Config{Dir: dir, Vehicle: vid, Log: slog.New(slog.DiscardHandler), Routes: []downlink.Route{
		{Kind: topics.Config, Name: "campaigns", Take: note},
		{Kind: topics.Config, Name: "update", Take: note},
		{Kind: topics.CommandRequest, Mode: downlink.Each, Take: note},
	}}
}

func (r *rig) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, text)
}

// run opens a downlink on dir and runs it until stop, or the test's end.
func run(t *testing.T, dir string, change func(*rig, *downlink.Config)) *rig {
	t.Helper()
	r := &rig{t: t}
	cfg := r.config(dir)
	if change != nil {
		change(r, &cfg)
	}
	d, err := downlink.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Downlink = d
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(r.stop)
	return r
}

// send delivers a message of QoS 1 that was received now.
func (r *rig) send(topic topics.Topic, payload string, edit ...func(*downlink.Message)) {
	m := downlink.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Received: time.Now()}
	for _, e := range edit {
		e(&m)
	}
	r.Receive(downlink.Arrival{Message: m, Answer: func(code byte, _ string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answers = append(r.answers, answer{payload, code})
	}}, nil)
}

func (r *rig) answered() []answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]answer(nil), r.answers...)
}

func (r *rig) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.taken...)
}

func expires(d time.Duration) func(*downlink.Message) {
	return func(m *downlink.Message) { m.Expires, m.Expiry = true, d }
}
