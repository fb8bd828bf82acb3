package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/delivery"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/topics"
)

// Reason codes of a PUBACK [MQTT-5.0, 3.4.2.1]. What the vehicle does about each
// is its business: it keeps the message unless the code is Stored.
const (
	CodeStored         byte = 0x00 // on disk
	CodeInternal       byte = 0x80 // try again
	CodeNotAuthorized  byte = 0x87 // the device may not send now
	CodeTopicInvalid   byte = 0x90 // not a topic that vehicles publish
	CodeQuotaExceeded  byte = 0x97 // try again later: over quota, busy, or full
	CodePayloadInvalid byte = 0x99 // not what the topic says
)

// DefaultParts is how many subjects the stream LOW is spread over.
const DefaultParts = 16

// schemaTimeout bounds how long a schema document may take to disk.
const schemaTimeout = 10 * time.Second

// maxKnownSchemas bounds the memory of which schema documents are on disk already.
const maxKnownSchemas = 4096

// Upload is a message from a vehicle whose client, topic and packet the broker has checked.
type Upload struct {
	Vehicle     protocol.VehicleID // of the client certificate
	Device      protocol.DeviceID  // of the client certificate
	Topic       topics.Topic
	Payload     []byte // not changed, and kept only until done
	ContentType string
	Properties  map[string]string // MQTT user properties
	Received    time.Time
}

// FrontConfig says what a Front works with.
type FrontConfig struct {
	Publisher Publisher
	Registry  Registry
	Schemas   Schemas
	Quota     Quota        // of each vehicle; zero fields take DefaultQuota's
	Stamp     string       // deployment stamp, a word of the subjects of stream UP; "local" when empty
	Parts     int          // of the stream LOW; DefaultParts when 0
	Log       *slog.Logger // discarded when nil
}

// Front takes messages in before they are acknowledged. Its methods may be
// called concurrently.
type Front struct {
	cfg    FrontConfig
	quotas *quotas
	hot    string   // subject up to the vehicle
	bulk   []string // the same for each part
	kinds  []string // the word of each topics.Kind; "" for those a vehicle does not publish

	knownMu sync.RWMutex // guards known
	known   map[protocol.SchemaHash]struct{}

	stats  frontCounters
	warned atomic.Int64 // Unix second of the last warning
}

type frontCounters struct {
	stored, bytes, overQuota, notActive, busy, full, failed, invalid, schemas, properties atomic.Uint64
}

// FrontStats counts since the start.
type FrontStats struct {
	Stored     uint64 `json:"stored"`     // messages on disk
	Bytes      uint64 `json:"bytes"`      // of their payloads
	Schemas    uint64 `json:"schemas"`    // schema documents acknowledged
	OverQuota  uint64 `json:"over_quota"` // refused with 0x97: the vehicle sends too much
	Busy       uint64 `json:"busy"`       // refused with 0x97: the backbone's queue was full
	Full       uint64 `json:"full"`       // refused with 0x97: the stream or disk is full
	NotActive  uint64 `json:"not_active"` // refused with 0x87
	Invalid    uint64 `json:"invalid"`    // refused with 0x90 or 0x99
	Failed     uint64 `json:"failed"`     // refused with 0x80
	Properties uint64 `json:"properties"` // user properties left out of the stored message
	Vehicles   int    `json:"vehicles"`   // that sent within the quota's memory
}

// NewFront checks the settings.
func NewFront(cfg FrontConfig) (*Front, error) {
	if cfg.Publisher == nil || cfg.Registry == nil || cfg.Schemas == nil {
		return nil, errors.New("ingest front: expected a publisher, a registry and a schema store")
	}
	cfg.Quota = cfg.Quota.withDefaults()
	if err := cfg.Quota.validate(); err != nil {
		return nil, fmt.Errorf("ingest front: %w", err)
	}
	if cfg.Stamp == "" {
		cfg.Stamp = "local"
	}
	if strings.ContainsAny(cfg.Stamp, ". *>\t\r\n") {
		return nil, errors.New("ingest front: stamp: expected one word without dots, blanks and wildcards")
	}
	if cfg.Parts <= 0 {
		cfg.Parts = DefaultParts
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Front{cfg: cfg, quotas: newQuotas(cfg.Quota), known: make(map[protocol.SchemaHash]struct{})}
	f.hot = "up." + cfg.Stamp + "."
	for part := range cfg.Parts {
		f.bulk = append(f.bulk, "low."+strconv.Itoa(part)+".")
	}
	f.kinds = make([]string, 256)
	for k := range f.kinds {
		if kind := topics.Kind(k); kind.Up() {
			f.kinds[k] = "." + kind.Word()
		}
	}
	return f, nil
}

// Publish decides about the message and, if it may come in, writes it to its
// stream. done is called exactly once, with the reason code of the PUBACK, either
// before Publish returns or later from another goroutine. A schema document is
// written before Publish returns.
func (f *Front) Publish(u Upload, done func(code byte)) {
	if code := f.admit(&u); code != CodeStored {
		done(code)
		return
	}
	if u.Topic.Kind == topics.Schema {
		done(f.schema(&u))
		return
	}
	h, left := header(&u)
	if left > 0 {
		f.stats.properties.Add(uint64(left))
	}
	size := uint64(len(u.Payload))
	m := Message{Subject: f.subject(&u), Header: h, Data: u.Payload}
	f.cfg.Publisher.Publish(m, func(_ uint64, err error) { done(f.stored(size, err)) })
}

// admit says CodeStored when the message may come in.
func (f *Front) admit(u *Upload) byte {
	if f.kinds[u.Topic.Kind] == "" || u.Topic.Vehicle != u.Vehicle ||
		u.Topic.Device != "" && u.Topic.Device != u.Device {
		f.stats.invalid.Add(1)
		return CodeTopicInvalid
	}
	if err := f.cfg.Registry.Active(u.Vehicle, u.Device); err != nil {
		if errors.Is(err, ErrUnavailable) {
			f.stats.failed.Add(1)
			return CodeInternal
		}
		f.stats.notActive.Add(1)
		return CodeNotAuthorized
	}
	if !f.quotas.take(u.Vehicle, class(u).Urgent(), len(u.Payload), u.Received) {
		f.stats.overQuota.Add(1)
		return CodeQuotaExceeded
	}
	return CodeStored
}

// Debit takes samples from what a vehicle may send, from the share of urgent messages first
// if they came so; a negative number gives back. It may be called from any goroutine.
func (f *Front) Debit(vid protocol.VehicleID, urgent bool, samples int) {
	f.quotas.debit(vid, urgent, samples, time.Now())
}

// Forget drops what a vehicle that was deleted has used of its quota.
func (f *Front) Forget(vid protocol.VehicleID) { f.quotas.forget(vid) }

// class is the priority that counts: what the message claims, but never more than its kind
// may have. What claims none, or none that is known, gets what its kind has then.
func class(u *Upload) protocol.Priority {
	asked, _ := protocol.ParsePriority(u.Properties[protocol.PropPriority])
	return delivery.Of(u.Topic).Class(asked)
}

// subject gives the message's subject, which decides its stream: up.{stamp}.{vid}.{kind} or low.{part}.{vid}.{kind}.
// A vehicle always has the same part.
func (f *Front) subject(u *Upload) string {
	prefix := f.hot
	if !class(u).Hot() {
		prefix = f.bulk[part(u.Vehicle, len(f.bulk))]
	}
	return prefix + string(u.Vehicle) + f.kinds[u.Topic.Kind]
}

// part spreads vehicles evenly (FNV-1a), the same in each run.
func part(vid protocol.VehicleID, parts int) int {
	h := fnv.New32a()
	h.Write([]byte(vid))
	return int(h.Sum32() % uint32(parts))
}

// stored turns the stream's answer into a reason code.
func (f *Front) stored(size uint64, err error) byte {
	switch {
	case err == nil:
		f.stats.stored.Add(1)
		f.stats.bytes.Add(size)
		return CodeStored
	case errors.Is(err, ErrBusy):
		f.stats.busy.Add(1)
		return CodeQuotaExceeded
	case errors.Is(err, ErrFull):
		f.stats.full.Add(1)
		return CodeQuotaExceeded
	}
	f.stats.failed.Add(1)
	if now := time.Now().Unix(); f.warned.Swap(now) != now { // once a second is enough
		f.cfg.Log.Warn("message not stored", "err", err)
	}
	return CodeInternal
}

// schema keeps a schema document under its hash, which is that of the document as
// it was before it was compressed for the wire. It is not parsed: what it says
// is the Processor's business.
func (f *Front) schema(u *Upload) byte {
	doc, err := compress.Unpack(u.Payload, schemas.MaxSize)
	hash := protocol.SchemaHash(sha256.Sum256(doc))
	if err != nil || hash != u.Topic.Schema {
		f.stats.invalid.Add(1)
		return CodePayloadInvalid
	}
	f.knownMu.RLock()
	_, known := f.known[hash]
	f.knownMu.RUnlock()
	if !known {
		ctx, cancel := context.WithTimeout(context.Background(), schemaTimeout)
		defer cancel()
		if err := f.putSchema(ctx, u.Vehicle, hash, doc); err != nil {
			return f.stored(0, fmt.Errorf("schema document: %w", err))
		}
		f.remember(hash)
	}
	f.stats.schemas.Add(1)
	return CodeStored
}

func (f *Front) putSchema(ctx context.Context, vid protocol.VehicleID, hash protocol.SchemaHash, doc []byte) error {
	if store, ok := f.cfg.Schemas.(VehicleSchemas); ok {
		return store.PutVehicleSchema(ctx, vid, hash, doc)
	}
	return f.cfg.Schemas.PutSchema(ctx, hash, doc)
}

// remember notes that a document is on disk; when the memory is full it starts anew.
func (f *Front) remember(hash protocol.SchemaHash) {
	f.knownMu.Lock()
	defer f.knownMu.Unlock()
	if len(f.known) >= maxKnownSchemas {
		clear(f.known)
	}
	f.known[hash] = struct{}{}
}

// Stats gives the counters.
func (f *Front) Stats() FrontStats {
	s := &f.stats
	return FrontStats{
		Stored: s.stored.Load(), Bytes: s.bytes.Load(), Schemas: s.schemas.Load(),
		OverQuota: s.overQuota.Load(), Busy: s.busy.Load(), Full: s.full.Load(),
		NotActive: s.notActive.Load(), Invalid: s.invalid.Load(), Failed: s.failed.Load(),
		Properties: s.properties.Load(), Vehicles: f.quotas.len(),
	}
}
