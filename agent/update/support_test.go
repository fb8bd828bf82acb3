package update_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/agent/update"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/slotstest"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	board    = "testboard"
	capacity = 8 << 20
)

// bench is a vehicle with slots, a cloud that serves files, and what the vehicle said.
type bench struct {
	t         *testing.T
	dir       string
	slots     slots.Slots
	fake      *slotstest.Fake
	key       *ecdsa.PrivateKey
	keys      signed.Keys
	server    *httptest.Server
	mu        sync.Mutex // guards what follows
	files     map[string][]byte
	handler   http.HandlerFunc // instead of serving files
	requests  []string         // their Range headers
	said      []updates.Feedback
	refuse    bool // the buffer takes nothing
	unhealthy error
	offline   bool
	release   uint64
	health    time.Duration
	unsynced  bool // the journal is replaced without waiting for the disk
	onReport  func(do func() error) error
	onWrite   func(do func() error) error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), fake: slotstest.NewFake(capacity), files: map[string][]byte{}, release: 7, health: 600 * time.Millisecond}
	b.slots = b.fake
	b.fake.Start()
	var err error
	if b.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(b.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if b.keys, err = signed.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})); err != nil {
		t.Fatal(err)
	}
	b.server = httptest.NewTLSServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.server.Close)
	return b
}

func (b *bench) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	handler, file := b.handler, b.files[r.URL.Path]
	b.requests = append(b.requests, r.Header.Get("Range"))
	b.mu.Unlock()
	switch {
	case handler != nil:
		handler(w, r)
	case file == nil:
		http.NotFound(w, r)
	default:
		w.Header().Set("ETag", `"`+strings.TrimPrefix(r.URL.Path, "/v1/files/")+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}
}

// Put implements update.Outbox.
func (b *bench) Put(t topics.Topic, content any) error {
	do := func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.refuse {
			return slotstest.ErrInjected
		}
		f, ok := content.(updates.Feedback)
		if !ok || t != (topics.Topic{Kind: topics.UpdateFeedback}) {
			b.t.Errorf("got document %+v on topic %+v", content, t)
		}
		if err := f.Validate(); err != nil {
			b.t.Error(err)
		}
		b.said = append(b.said, f)
		return nil
	}
	if b.onReport != nil {
		return b.onReport(do)
	}
	return do()
}

// file signs an update of release with a random payload of n bytes and serves it.
func (b *bench) file(release uint64, n int) (file, payload []byte) {
	b.t.Helper()
	payload = make([]byte, n)
	random := mathrand.New(mathrand.NewPCG(release, uint64(n)))
	for i := range payload {
		payload[i] = byte(random.Uint32())
	}
	var out bytes.Buffer
	if _, err := firmware.Sign(&out, firmware.Manifest{Board: board, Version: "v", Release: release}, bytes.NewReader(payload), b.key); err != nil {
		b.t.Fatal(err)
	}
	b.put(out.Bytes())
	return out.Bytes(), payload
}

func (b *bench) put(file []byte) updates.FileHash {
	hash := updates.FileHash(sha256.Sum256(file))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[updates.DownloadPath(hash)] = file
	return hash
}

// updateDocument asks for a file.
func updateDocument(id updates.ID, revision uint64, file []byte) updates.Update {
	return updates.Update{Version: 1, Revision: revision, ID: id, Device: "tcu", File: sha256.Sum256(file), Size: int64(len(file))}
}

func encode(t *testing.T, doc updates.Update) []byte {
	t.Helper()
	data, err := document.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (b *bench) config() update.Config {
	roots := x509.NewCertPool()
	roots.AddCert(b.server.Certificate())
	return update.Config{
		Dir: b.dir, Device: "tcu", Slots: b.slots, Keys: b.keys,
		Running:   updates.Running{Version: "1.0", Release: b.release, Board: board},
		Endpoints: []string{b.server.Listener.Addr().String()}, TLS: &tls.Config{RootCAs: roots}, Outbox: b,
		Healthy:   func() error { b.mu.Lock(); defer b.mu.Unlock(); return b.unhealthy },
		Connected: func() bool { b.mu.Lock(); defer b.mu.Unlock(); return !b.offline },
		Timing: update.Timing{
			Health: b.health, Settle: 10 * time.Millisecond, Retry: 10 * time.Millisecond, Idle: 500 * time.Millisecond,
			Progress: time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// start is a start of the agent; the document is delivered as at a connect.
func (b *bench) start(ctx context.Context, docs ...updates.Update) (*update.Updater, <-chan error) {
	b.t.Helper()
	u, err := update.Open(b.config())
	if err != nil {
		b.t.Fatal(err)
	}
	if b.unsynced {
		u.Unsynced()
	}
	if b.onWrite != nil {
		u.OnWrite(b.onWrite)
	}
	for _, doc := range docs {
		u.Offer(encode(b.t, doc))
	}
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	return u, done
}

// asked is how many requests the cloud got.
func (b *bench) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.requests)
}

// last is the newest feedback.
func (b *bench) last() updates.Feedback {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) == 0 {
		return updates.Feedback{}
	}
	return b.said[len(b.said)-1]
}

// await runs starts of the agent, with a restart of the machine where one is asked for,
// until the update of doc has ended, and gives the last word.
func (b *bench) await(doc updates.Update) updates.Feedback {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		run, stop := context.WithCancel(ctx)
		_, done := b.start(run, doc)
		if b.until(ctx, done, doc.ID) {
			stop()
			<-done
			return b.last()
		}
		stop()
		b.fake.Start()
	}
	b.t.Fatalf("the update did not end; last word: %+v", b.last())
	return updates.Feedback{}
}

// until waits for the end of the update (true) or for a restart of the machine (false).
func (b *bench) until(ctx context.Context, done <-chan error, id updates.ID) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != update.ErrRestart {
				b.t.Fatalf("got %v from Run", err)
			}
			return false
		case <-tick.C:
			if last := b.last(); last.Update == id && last.State.Ended() {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// path gives the states that were told of an update, each once in a row, and checks that each step is in the table.
func (b *bench) path(id updates.ID) string {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var words []string
	state, seq := updates.Pending, uint64(0)
	for _, f := range b.said {
		if f.Update != id {
			continue
		}
		if f.Sequence < seq || f.State != state && !state.Next(f.State) {
			b.t.Errorf("told %s with sequence %d after %s with %d", f.State, f.Sequence, state, seq)
		}
		if f.State != state {
			words = append(words, string(f.State))
		}
		state, seq = f.State, f.Sequence
	}
	return strings.Join(words, " ")
}
