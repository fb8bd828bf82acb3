package buffer

import (
	"errors"
	"fmt"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/topics"
)

// Limits of a record.
const (
	MaxPayload = protocol.MaxPacket // bytes
	MaxEvicted = 4096               // ranges that one record may carry
	maxText    = 256                // bytes of a content type, purpose or key id
)

// ErrRecord is wrapped by every error about a record that cannot be stored.
var ErrRecord = errors.New("invalid record")

// Record is one message waiting for the cloud. The buffer stores it whole and
// interprets only what it needs for its accounts.
type Record struct {
	Topic       string            // 1 to topics.MaxLength bytes
	ContentType string            // at most 256 bytes
	Priority    protocol.Priority // the class; must be set
	// ID is unique; Boot and Seq must be set when the record counts in the gap ledger.
	ID     protocol.MessageID
	Schema protocol.SchemaHash // zero: none
	// Purpose and KeyID say why the content was collected and which key encrypts
	// it; both may be empty (nothing is encrypted yet). At most 256 bytes each.
	Purpose, KeyID string
	// TimeQuality says how far the times can be trusted.
	TimeQuality batches.TimeQuality
	Seal        Seal   // of an encrypted payload; the zero value for one that is not
	Ordered     bool   // must not overtake others of its kind
	Samples     uint32 // number of samples in the payload
	First, Last int64  // source time of the first and last sample, µs since the Unix epoch
	// Created is cut to microseconds and comes back in UTC; zero: unknown.
	Created time.Time
	TTL     time.Duration // how long the record is of use after Created; 0: for ever
	// Evicted are the ranges that the payload declares as dropped; they leave
	// PendingEvicted with this record's commit.
	Evicted []protocol.SeqRange
	Payload []byte // at most MaxPayload bytes; owned by the caller of Append, by the reader of an Entry
}

// Bounds of a seal, in bytes.
const (
	maxNonce = 24
	maxTag   = 32
)

// Seal is what opening an encrypted payload needs beside the key named by KeyID. The format has room for it;
// nothing is encrypted yet.
type Seal struct{ Nonce, Tag []byte }

func (s Seal) there() bool { return len(s.Nonce)+len(s.Tag) > 0 }

func (s Seal) check() error {
	if len(s.Nonce) > maxNonce || len(s.Tag) > maxTag {
		return bad("seal", "expected at most %d bytes of nonce and %d of tag", maxNonce, maxTag)
	}
	return nil
}

// Check says why Append would refuse r for ever. The error wraps ErrRecord and names the field.
func (r *Record) Check() error {
	switch {
	case r.Topic == "" || len(r.Topic) > topics.MaxLength:
		return bad("topic", "expected 1 to %d bytes, got %d", topics.MaxLength, len(r.Topic))
	case r.Priority < protocol.CS0 || r.Priority > protocol.CS6:
		return bad("priority", "expected CS0 to CS6")
	case len(r.ContentType) > maxText || len(r.Purpose) > maxText || len(r.KeyID) > maxText:
		return bad("content type, purpose or key id", "expected at most %d bytes", maxText)
	case len(r.ID.Device) > protocol.MaxIDLength:
		return bad("id", "expected a device of at most %d bytes", protocol.MaxIDLength)
	case len(r.Evicted) > MaxEvicted:
		return bad("evicted", "expected at most %d ranges, got %d", MaxEvicted, len(r.Evicted))
	case len(r.Payload) > MaxPayload:
		return bad("payload", "expected at most %d bytes, got %d", MaxPayload, len(r.Payload))
	case r.TTL < 0:
		return bad("ttl", "expected 0 or more")
	}
	return errors.Join(r.Seal.check(), checkRanges(r.Evicted))
}

func checkRanges(list []protocol.SeqRange) error {
	for _, e := range list {
		if e.From == 0 || e.From > e.To {
			return bad("evicted", "expected ranges from 1 upwards, got %d to %d", e.From, e.To)
		}
	}
	return nil
}

func bad(field, format string, args ...any) error {
	return fmt.Errorf("buffer: record: %s: %s: %w", field, fmt.Sprintf(format, args...), ErrRecord)
}

// Progress is the pipeline's own account as of a commit: totals since the
// start of the boot. The buffer keeps it and never computes with it.
type Progress struct {
	Boot     protocol.BootID // zero: no account, Append leaves the accounts as they are
	Received uint64          // frames taken from the bus
	Dropped  uint64          // frames that the driver counted as dropped
	Decoded  uint64          // frames decoded
	Unknown  uint64          // frames with an unknown identifier
	Samples  uint64          // samples in records appended or checkpointed so far
	Bytes    uint64          // payload bytes of records appended so far
	NextSeq  uint64          // sequence of the next record
	Seen     []uint64        // received plus dropped of each bus: where in its sequence of frames the account stands
}

// Position is the place of a record. Within a class, append order is the
// order by (Segment, Index). Positions stay valid until acknowledged or
// evicted, also across restarts. The zero Segment is before every record.
type Position struct {
	Class   protocol.Priority
	Segment uint64 // from 1
	Index   uint32 // from 0
}

// Before says whether p comes before q in the same class.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Index < q.Index
}

// Entry is a record read from its position.
type Entry struct {
	Position Position
	Record   Record
}
