package link_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

const (
	vid = protocol.VehicleID("veh-1")
	did = protocol.DeviceID("tcu-1")
)

var boot = protocol.BootID{1, 2, 3, 4, 5, 6, 7, 8}

// patience is how long a test waits for what must come.
const patience = time.Minute

// memory is a uplink.Buffer in memory, which counts what is acknowledged.
type memory struct {
	mu       sync.Mutex
	classes  map[protocol.Priority][]buffer.Entry
	acked    map[buffer.Position]int
	appended chan struct{}
	seq      uint64
	count    map[protocol.Priority]int // records ever added
	handed   map[buffer.Position]bool  // positions that Read gave
}

var _ uplink.Buffer = (*memory)(nil)

func newMemory() *memory {
	return &memory{classes: map[protocol.Priority][]buffer.Entry{}, acked: map[buffer.Position]int{}, count: map[protocol.Priority]int{}, handed: map[buffer.Position]bool{}, appended: make(chan struct{}, 1)}
}

const segmentRecords = 10

// add appends records; unset fields get defaults.
func (m *memory) add(recs ...buffer.Record) {
	m.mu.Lock()
	for _, r := range recs {
		m.seq++
		if r.Priority == 0 {
			r.Priority = protocol.CS3
		}
		if r.Topic == "" {
			r.Topic = topics.Topic{Kind: topics.Telemetry, Vehicle: vid, Campaign: "all"}.String()
		}
		r.ContentType, r.ID, r.Samples = protocol.ContentTelemetry, protocol.MessageID{Device: did, Boot: boot, Seq: m.seq}, 10
		n := m.count[r.Priority]
		m.count[r.Priority]++
		pos := buffer.Position{Class: r.Priority, Segment: uint64(1 + n/segmentRecords), Index: uint32(n % segmentRecords)}
		m.classes[r.Priority] = append(m.classes[r.Priority], buffer.Entry{Position: pos, Record: r})
	}
	m.mu.Unlock()
	select {
	case m.appended <- struct{}{}:
	default:
	}
}

func (m *memory) Read(after buffer.Position, class protocol.Priority, maxRecords, maxBytes int) ([]buffer.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []buffer.Entry
	for _, e := range m.classes[class] {
		if m.acked[e.Position] > 0 || after.Segment != 0 && !after.Before(e.Position) {
			continue
		}
		if maxBytes -= len(e.Record.Payload); len(found) == maxRecords || maxBytes < 0 && len(found) > 0 {
			break
		}
		found = append(found, e)
		m.handed[e.Position] = true
	}
	return found, nil
}

func (m *memory) End(class protocol.Priority) buffer.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.classes[class]
	if len(all) == 0 {
		return buffer.Position{Class: class}
	}
	return all[len(all)-1].Position
}

func (m *memory) Ack(pos buffer.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked[pos]++
}

func (m *memory) Appended() <-chan struct{} { return m.appended }

// forget drops acknowledged records of the first segments, as a buffer does.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for class, entries := range m.classes {
		n := 0
		for n < len(entries) && m.acked[entries[n].Position] > 0 {
			n++
		}
		m.classes[class] = entries[n:]
	}
}

// taken is the number of records that Read gave.
func (m *memory) taken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.handed)
}

// left is the number of records that wait.
func (m *memory) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, entries := range m.classes {
		for _, e := range entries {
			if m.acked[e.Position] == 0 {
				n++
			}
		}
	}
	return n
}

// schemas is a uplink.Schemas.
type schemas map[protocol.SchemaHash][]byte

func (s schemas) Schema(h protocol.SchemaHash) ([]byte, bool) {
	doc, ok := s[h]
	return doc, ok
}

func (s schemas) put(doc string) protocol.SchemaHash {
	h := protocol.SchemaHash(sha256.Sum256([]byte(doc)))
	s[h] = []byte(doc)
	return h
}

// logs keeps what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.buf.Bytes(), []byte(s))
}

// rig is a link under test.
type rig struct {
	*link.Link
	buf     *memory
	schemas schemas
	log     *logs
	stop    func() // graceful; waits for the end
}

// start runs a link with quick settings, changed by change, until stop or the test's end.
func start(t *testing.T, buf *memory, change func(*link.Config)) *rig {
	t.Helper()
	r := &rig{buf: buf, schemas: schemas{}, log: &logs{}}
	cfg := link.Config{
		Vehicle: vid, Device: did, Boot: boot, Version: "test", KeepAlive: 5 * time.Second,
		SessionExpiry: 30 * time.Second, WillDelay: time.Second, BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
		PowerJitter: -1, Timeout: 2 * time.Second, AckTimeout: 2 * time.Second, DrainTime: 300 * time.Millisecond,
		Buffer: buf, Schemas: r.schemas, Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	change(&cfg)
	l, err := link.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r.Link = l
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return within 10 s")
		}
		if t.Failed() {
			r.log.mu.Lock()
			t.Logf("log:\n%s", r.log.buf.String())
			r.log.mu.Unlock()
		}
	})
	t.Cleanup(r.stop)
	return r
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting: %s", what)
		}
	}
}

// numbered are n records with payloads name-0, name-1, … of a class.
func numbered(name string, n int, class protocol.Priority) []buffer.Record {
	recs := make([]buffer.Record, n)
	for i := range recs {
		recs[i] = buffer.Record{Priority: class, Payload: fmt.Appendf(nil, "%s-%d", name, i), Created: time.Now()}
	}
	return recs
}

// payloads of publishes that are records, in the order of arrival.
func payloads(got []publish) []string {
	var list []string
	for _, p := range got {
		if p.topic.Kind != topics.Presence && p.topic.Kind != topics.Schema {
			list = append(list, string(p.payload))
		}
	}
	return list
}

// presences are the publishes of presence, in the order of arrival.
func presences(t *testing.T, got []publish) []protocol.Presence {
	t.Helper()
	var list []protocol.Presence
	for _, p := range got {
		if p.topic.Kind == topics.Presence {
			list = append(list, parsePresence(t, p.payload))
		}
	}
	return list
}

func parsePresence(t *testing.T, payload []byte) protocol.Presence {
	t.Helper()
	var p protocol.Presence
	if err := document.Unmarshal(payload, &p); err != nil {
		t.Fatalf("presence: %v", err)
	}
	return p
}

// complete says whether each of the names arrived at least once.
func complete(got []publish, names ...string) bool {
	have := payloads(got)
	return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(have, n) })
}
