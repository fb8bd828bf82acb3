package ingest_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/parquet-go/parquet-go"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
	"telltale.dev/protocol/topics"
)

// memory is a stream in memory that refuses what fail says.
type memory struct {
	mu       sync.Mutex // guards the rest
	messages []ingest.Message
	last     uint64 // sequence of the newest, also when it is deleted
	fail     func(m ingest.Message) error
	added    chan struct{}
}

func newMemory() *memory { return &memory{added: make(chan struct{}, 1)} }

func (s *memory) Publish(m ingest.Message, done func(uint64, error)) {
	s.mu.Lock()
	if s.fail != nil {
		if err := s.fail(m); err != nil {
			s.mu.Unlock()
			done(0, err)
			return
		}
	}
	s.last++
	m.Sequence = s.last
	m.Stored = time.Unix(1_700_000_000, 0)
	m.Header = maps.Clone(m.Header)
	s.messages = append(s.messages, m)
	s.mu.Unlock()
	select {
	case s.added <- struct{}{}:
	default:
	}
	done(m.Sequence, nil)
}

func (s *memory) Read(ctx context.Context, from uint64, limit int, wait time.Duration) ([]ingest.Message, error) {
	if out := s.after(from, limit); len(out) > 0 || wait == 0 {
		return out, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	case <-s.added:
	}
	return s.after(from, limit), nil
}

func (s *memory) after(from uint64, limit int) []ingest.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.messages
	for len(rest) > 0 && rest[0].Sequence < from {
		rest = rest[1:]
	}
	return append([]ingest.Message(nil), rest[:min(limit, len(rest))]...)
}

func (s *memory) Last(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, nil
}

func (s *memory) Kept(context.Context) (first, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.messages) == 0 {
		return s.last + 1, s.last, nil
	}
	return s.messages[0].Sequence, s.last, nil
}

func (s *memory) Next(_ context.Context, from uint64) (uint64, error) {
	if next := s.after(from, 1); len(next) > 0 {
		return next[0].Sequence, nil
	}
	return 0, nil
}

// forget deletes messages, as a stream at its limits does.
func (s *memory) forget(from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m ingest.Message) bool { return m.Sequence >= from && m.Sequence <= to })
}

// cborOf makes an array by hand.
func cborOf(tb testing.TB, elements ...any) []byte {
	tb.Helper()
	data, err := cbor.Marshal(elements)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func (s *memory) all() []ingest.Message { return s.after(1, 1<<30) }

// streams is the publisher of all streams: by the first word of the subject.
type streams map[string]*memory

func (l streams) Publish(m ingest.Message, done func(uint64, error)) {
	word, _, _ := strings.Cut(m.Subject, ".")
	l[word].Publish(m, done)
}

// schemaStore is one in memory.
type schemaStore struct {
	mu   sync.Mutex // guards the rest
	docs map[protocol.SchemaID][]byte
	err  error
	puts int
}

func (s *schemaStore) PutSchema(_ context.Context, hash protocol.SchemaHash, doc []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.puts++
	if s.docs == nil {
		s.docs = map[protocol.SchemaID][]byte{}
	}
	s.docs[hash.ID()] = append([]byte{}, doc...)
	return nil
}

func (s *schemaStore) Schema(_ context.Context, id protocol.SchemaID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if doc, ok := s.docs[id]; ok {
		return doc, nil
	}
	return nil, ingest.ErrSchemaNotFound
}

// places keeps checkpoints in memory.
type places struct {
	mu   sync.Mutex // guards the rest
	all  map[string][]byte
	fail error
}

func (s *places) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if s.all == nil {
		s.all = map[string][]byte{}
	}
	s.all[key] = value
	return nil
}

func (s *places) List(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all), nil
}

// batchesTo is a consumer of telemetry.
func batchesTo(name string, f func(context.Context, *ingest.Decoded) error) ingest.Consumer {
	return ingest.Consumer{Name: name, Batch: f}
}

// registry says of each device what the function says.
type registry func(protocol.VehicleID, protocol.DeviceID) error

func (r registry) Active(v protocol.VehicleID, d protocol.DeviceID) error { return r(v, d) }

func everybody(protocol.VehicleID, protocol.DeviceID) error { return nil }

func openLake(tb testing.TB, dir string) *lake.Lake {
	tb.Helper()
	w, err := lake.Open(lake.Config{Dir: dir, Stream: "UP", Fold: ingest.Fold})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// committed is what the lake's commits were given, as one.
func committed(tb testing.TB, dir string) (last uint64, checkpoint []byte) {
	tb.Helper()
	last, all, err := openLake(tb, dir).Checkpoint()
	if err == nil {
		checkpoint, err = ingest.Fold(all...)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return last, checkpoint
}

// testSchema has one group of two signals.
func testSchema(tb testing.TB, campaign protocol.CampaignID) (doc []byte, hash protocol.SchemaHash) {
	tb.Helper()
	s := schemas.Schema{
		Version: schemas.Version1, Campaign: campaign, Rule: "all", Tick: 1000, Mode: protocol.ModeAll,
		Signals: []signal.Signal{
			{Name: "Speed", Unit: "km/h", Message: "Motion", Bus: "can0", CAN: &signal.Bits{ID: 0x100, Length: 16}, Scale: "0.01"},
			{Name: "Gear", Message: "Motion", Bus: "can0", CAN: &signal.Bits{ID: 0x100, Start: 16, Length: 4}},
		},
		Groups: [][]uint32{{0, 1}},
	}
	doc, hash, err := s.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return doc, hash
}

// maker makes payloads of one vehicle's device.
type maker struct {
	tb      testing.TB
	schema  *schemas.Schema
	doc     []byte
	hash    protocol.SchemaHash
	vehicle protocol.VehicleID
	device  protocol.DeviceID
	boot    protocol.BootID
}

func newMaker(tb testing.TB) *maker {
	tb.Helper()
	doc, hash := testSchema(tb, "everything")
	s, err := schemas.Parse(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return &maker{tb: tb, schema: s, doc: doc, hash: hash, vehicle: "car1", device: "tcu1", boot: protocol.BootID{1}}
}

const rowsPerBatch = 50 // 100 samples

// start is 20 batches of a second before midnight.
var start = time.Date(2026, 11, 23, 23, 59, 40, 0, time.UTC)

func (k *maker) id(seq uint64) protocol.MessageID {
	return protocol.MessageID{Device: k.device, Boot: k.boot, Seq: seq}
}

// payload is a batch of rowsPerBatch rows in second seq from start.
func (k *maker) payload(seq uint64, edit ...func(*batches.Header)) []byte {
	k.tb.Helper()
	e := batches.NewEncoder(k.schema, k.hash.ID())
	for i := range rowsPerBatch {
		t := start.Add(time.Duration(seq)*time.Second + time.Duration(i)*10*time.Millisecond).UnixMicro()
		e.Add(0, t, []int64{int64(seq), int64(i)})
	}
	h := batches.Header{Schema: k.hash.ID(), ID: k.id(seq)}
	for _, f := range edit {
		f(&h)
	}
	out, err := e.Encode(h, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	return out
}

// message is how the front stores a payload.
func (k *maker) message(payload []byte, property string) ingest.Message {
	t := topics.Topic{Kind: topics.Telemetry, Vehicle: k.vehicle, Campaign: "everything"}
	m := ingest.Message{
		Subject: "up.local." + string(k.vehicle) + ".telemetry",
		Header: map[string]string{
			ingest.HeaderTopic: t.String(), ingest.HeaderDevice: string(k.device),
			ingest.HeaderReceived: strconv.FormatInt(start.UnixMicro(), 10),
		},
		Data: payload,
	}
	if property != "" {
		m.Header[ingest.HeaderProperty+protocol.PropMessageID] = property
	}
	return m
}

// send stores batches in the stream.
func (k *maker) send(s *memory, seqs ...uint64) {
	for _, seq := range seqs {
		s.Publish(k.message(k.payload(seq), k.id(seq).String()), func(uint64, error) {})
	}
}

// bench is a processor with all its surroundings in memory, but for the lake.
type bench struct {
	tb      testing.TB
	dir     string
	up      *memory
	dead    *memory
	schemas *schemaStore
	places  *places // the consumers' checkpoints
	maker   *maker
	config  func(*ingest.ProcessorConfig)
}

func newBench(tb testing.TB) *bench {
	b := &bench{tb: tb, dir: tb.TempDir(), up: newMemory(), dead: newMemory(), schemas: &schemaStore{}, places: &places{}, maker: newMaker(tb)}
	if err := b.schemas.PutSchema(tb.Context(), b.maker.hash, b.maker.doc); err != nil {
		tb.Fatal(err)
	}
	return b
}

// start runs a processor; stop ends it and waits.
func (b *bench) start() (p *ingest.Processor, stop func() error) {
	b.tb.Helper()
	cfg := ingest.ProcessorConfig{
		Name: "UP", Stream: b.up, Lake: openLake(b.tb, b.dir), Schemas: b.schemas, Publisher: b.dead, Checkpoints: b.places,
		FlushAge: time.Hour, Poll: 5 * time.Millisecond,
	}
	if b.config != nil {
		b.config(&cfg)
	}
	p, err := ingest.NewProcessor(cfg)
	if err != nil {
		b.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() { cancel(); result = <-ended })
		return result
	}
	b.tb.Cleanup(func() { _ = stop() })
	return p, stop
}

// flush runs until everything is in the lake.
func (b *bench) flush(p *ingest.Processor) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), time.Minute)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		b.tb.Fatalf("flush: %v", err)
	}
}

// stored counts the rows of each batch as vehicle/device.boot.seq, reading the files.
func stored(tb testing.TB, dir string) map[string]int {
	tb.Helper()
	type row struct {
		Vehicle string `parquet:"vid"`
		Device  string `parquet:"did"`
		Boot    string `parquet:"boot"`
		Seq     int64  `parquet:"seq"`
		Time    int64  `parquet:"time,timestamp(microsecond)"`
		Signal  string `parquet:"signal"`
	}
	files, err := filepath.Glob(filepath.Join(dir, "date=*", "part-*.parquet"))
	if err != nil {
		tb.Fatal(err)
	}
	seen, count := map[row]bool{}, map[string]int{}
	for _, name := range files {
		rows, err := parquet.ReadFile[row](name)
		if err != nil {
			tb.Fatalf("%s: %v", filepath.Base(name), err)
		}
		for _, r := range rows {
			if seen[r] {
				tb.Fatalf("row %+v is there twice", r)
			}
			seen[r] = true
			count[r.Vehicle+"/"+r.Device+"."+r.Boot+"."+strconv.FormatInt(r.Seq, 10)]++
		}
	}
	return count
}

// log is a stream in a file that processes share: frames of a length and JSON.
type log struct{ name string }

func (l log) Publish(m ingest.Message, done func(uint64, error)) {
	done(0, l.append(m))
}

func (l log) append(messages ...ingest.Message) (err error) {
	var data []byte
	for _, m := range messages {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		data = append(binary.BigEndian.AppendUint32(data, uint32(len(body))), body...)
	}
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// load reads the file into a stream in memory, up to a torn end.
func (l log) load() (*memory, error) {
	out := newMemory()
	data, err := os.ReadFile(l.name)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	for len(data) >= 4 && err == nil {
		n := int(binary.BigEndian.Uint32(data))
		if len(data) < 4+n {
			break
		}
		var m ingest.Message
		err = json.Unmarshal(data[4:4+n], &m)
		out.Publish(m, func(uint64, error) {})
		data = data[4+n:]
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}

// checkAccounts compares what accounts say, however empty sets are kept.
func checkAccounts(t *testing.T, got, want []ledger.Account) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("accounts:\n got %s\nwant %s", g, w)
	}
}

func spans(ends ...uint64) (out []ledger.Span) {
	for i := 0; i < len(ends); i += 2 {
		out = append(out, ledger.Span{From: ends[i], To: ends[i+1]})
	}
	return out
}

func in(list []ledger.Span, seq uint64) bool {
	return slices.ContainsFunc(list, func(s ledger.Span) bool { return s.From <= seq && seq <= s.To })
}
