package uplink_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
)

// purgeRig is an uplink with a real buffer, so that purges are real.
type purgeRig struct {
	*testing.T
	buf    *buffer.Buffer
	up     *uplink.Uplink
	sender *uplink.Sender
	now    time.Time
	write  func() error // of each publish
	sent   []string     // payloads
	tokens []any        // under way
	seq    uint64
}

func newPurgeRig(t *testing.T) *purgeRig {
	t.Helper()
	b, err := buffer.Open(buffer.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	r := &purgeRig{T: t, buf: b, now: time.Now(), write: func() error { return nil }}
	r.up = uplink.New(uplink.Config{
		Vehicle: "anna", Buffer: b, Schemas: &rig{}, BackoffMin: time.Second, BackoffMax: time.Minute, AckTimeout: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	})
	return r
}

func (r *purgeRig) connect(window int) {
	r.tokens = nil
	r.sender = r.up.Connect("server", session.Limits{Window: window}, func(token any, p *paho.Publish, _ bool) error {
		if err := r.write(); err != nil {
			return err
		}
		r.sent, r.tokens = append(r.sent, string(p.Payload)), append(r.tokens, token)
		return nil
	})
}

// add appends a record of a purpose, whose payload is the purpose.
func (r *purgeRig) add(purpose string, n int) {
	r.Helper()
	for range n {
		r.seq++
		rec := buffer.Record{
			Priority: protocol.CS1, Topic: "v1/anna/up/telemetry/c", Purpose: purpose, ID: protocol.MessageID{Device: "tcu", Seq: r.seq}, Payload: []byte(purpose),
		}
		if err := r.buf.Append([]buffer.Record{rec}, buffer.Progress{}); err != nil {
			r.Fatal(err)
		}
	}
	if r.sender != nil {
		r.sender.Appended()
	}
}

func (r *purgeRig) purge(purpose string) {
	r.Helper()
	if _, err := r.buf.Purge(purpose); err != nil {
		r.Fatal(err)
	}
}

// fill sends what may go, and gives the payloads.
func (r *purgeRig) fill() (payloads []string) {
	r.Helper()
	r.sent = nil
	if err := r.sender.Fill(r.now); err != nil {
		r.Error(err)
	}
	return r.sent
}

func (r *purgeRig) answer(code byte) {
	r.Helper()
	token := r.tokens[0]
	r.tokens = r.tokens[1:]
	r.sender.Answered(session.Answer{Token: token, Code: code}, r.now)
}

// TestPurgeReachesWhatWasRead: after a purge nothing of its purpose is sent any more, wherever in the uplink it was: read ahead,
// waiting for a retry, or kept back behind the window. What others have stored goes on, and so does what comes later.
func TestPurgeReachesWhatWasRead(t *testing.T) {
	r := newPurgeRig(t)
	r.add("research", 2)
	r.add("service", 1)
	r.add("research", 3)
	r.connect(1)
	equal(t, "before", r.fill(), "research")
	r.answer(session.CodeUnspecified) // it is to be tried again
	equal(t, "the next one", r.fill(), "research")
	r.purge("research")
	r.now = r.now.Add(time.Hour) // retries are due
	r.answer(0)
	equal(t, "after the purge", r.fill(), "service")
	r.answer(0)
	equal(t, "nothing is left", r.fill())
	r.add("research", 1) // a new consent
	equal(t, "what came later", r.fill(), "research")
	r.answer(0)
	if got := r.buf.Stats(); got.Waiting.Records != 0 || got.PurgedRecords != 5 || got.Acked != 2 {
		t.Errorf("got %+v, want nothing waiting, 5 purged and 2 acknowledged", got)
	}
}

// TestPurgeBetweenConnections: what was under way or read when the session was lost is not sent in the next one.
func TestPurgeBetweenConnections(t *testing.T) {
	r := newPurgeRig(t)
	r.add("research", 4)
	r.add("service", 1)
	r.connect(2)
	equal(t, "before", r.fill(), "research", "research")
	r.up.Disconnected(r.tokens, r.now)
	r.purge("research")
	r.connect(2)
	equal(t, "after the purge", r.fill(), "service")
}

// TestPurgeLosesConnection: a write that fails while a purge waits for it ends the connection, and the purge comes to its end.
func TestPurgeLosesConnection(t *testing.T) {
	r := newPurgeRig(t)
	r.add("research", 3)
	r.connect(1)
	lost, purged := errors.New("lost"), make(chan error, 1)
	r.write = func() error {
		go func() {
			_, err := r.buf.Purge("research")
			purged <- err
		}()
		for r.buf.Stats().PurgedRecords == 0 { // it is on disk, and waits for this write
			time.Sleep(time.Millisecond)
		}
		select {
		case <-purged:
			t.Error("the purge returned while a record of it was being written")
		default:
		}
		return lost
	}
	if err := r.sender.Fill(r.now); !errors.Is(err, lost) {
		t.Errorf("got %v, want that the connection is lost", err)
	}
	if err := <-purged; err != nil {
		t.Error(err)
	}
	r.up.Disconnected(nil, r.now)
	r.write = func() error { return nil }
	r.connect(1)
	equal(t, "after the purge", r.fill())
}
