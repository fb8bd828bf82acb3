// Package ingest takes in what vehicles send, on both sides of the stream.
//
// In front of it, before the PUBACK, the Front decides in microseconds whether a
// message may come in (registered, active, within the vehicle's quota), writes
// it as it came to the stream that its priority names, and says the reason code
// once it is on disk. It decodes no payload.
//
// Behind it, one Processor for each stream reads in order, takes the vehicles in
// turn, decodes once, drops what came before (package ledger), and hands what is new to
// the lake and the consumers. What a batch claims is counted before it is expanded: a
// batch that claims too much is no batch, and the samples of the others are debited
// from the vehicle's quota, so that who sends more than its share is refused in front.
// What it cannot decode goes to a dead-letter stream with the reason, from where
// a Replayer brings it back once the reason is gone.
//
//	vehicle → broker → Front ─→ stream UP or LOW ─→ Processor ─→ lake, consumers
//	             PUBACK ←─┘                             └─→ DEAD ─→ Replayer ─→ stream
//
// A batch is in the lake exactly once, whatever crashes: the lake commits files,
// stream position and ledger together, and the Processor starts where the last
// commit ended: at the first message that was not done, passing over those behind it that were.
//
// The lake and each consumer stand for themselves. The reader waits for none of them: what one
// cannot take now it reads from the stream later, from its own place, which is in the lake's
// commit and, for a consumer, in a checkpoint of its own: a position, and the set of what is
// not done below it. The stream keeps what one of them still needs. A consumer's refusal
// is tried again for a day, then it is a dead letter for this consumer; so it is at once when
// the stream has no more room. The lake is waited for, and vehicles with it once the stream
// is full. After a crash a consumer is told again, in order, what was not noted yet.
//
// It is not the broker (who may connect, which topics), not the files (cloud/lake) and not the last known state
// (cloud/state): it knows them by the small interfaces in this package. The stream engine (cloud/backbone) it knows as
// the ground floor, and reads and writes through interfaces all the same, so that tests can make each step fail.
package ingest

import (
	"context"
	"errors"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/topics"
)

// Errors that implementations of this package's interfaces give, wrapped.
var (
	// ErrBusy: the queue to the stream is full for a moment.
	ErrBusy = backbone.ErrBusy
	// ErrFull: the stream is at its limit, or the disk is.
	ErrFull = backbone.ErrFull
	// ErrUnavailable: the registry cannot answer yet.
	ErrUnavailable = errors.New("registry is not available")
	// ErrSchemaNotFound: no document is kept under this id.
	ErrSchemaNotFound = errors.New("schema is not known")
)

// Message is one message of a stream. Sequence and Stored are set by the stream.
type Message = backbone.Message

// Publisher puts messages on disk. Publish never blocks for long; done is called
// exactly once, from any goroutine, when the message is on disk or will not be.
type Publisher interface {
	Publish(m Message, done func(sequence uint64, err error))
}

// Stream is read in order. Read gives up to max messages with sequences from
// from on, waits up to wait for the first of them, and gives none and no error
// when none came.
type Stream interface {
	Read(ctx context.Context, from uint64, max int, wait time.Duration) ([]Message, error)
}

// Ended is what a Stream may be, too: one that knows the sequence of its newest message, which
// is where it ends now; 0 when it has none.
type Newest interface {
	Last(ctx context.Context) (uint64, error)
}

// Kept is what a Stream may be, too: one that knows which messages it still has. First is the sequence of the oldest
// one, last that of the newest that there was; without any, first is behind last or both are 0. Of a stream that is not Kept, a message
// is taken for deleted when it does not come for a while.
type Kept interface {
	Kept(ctx context.Context) (first, last uint64, err error)
}

// Following is what a Stream may be, too: one that knows which of its messages is the first from a sequence on; 0
// when there is none. A stream that is not Following has no more messages when it gives none for a while.
type Following interface {
	Next(ctx context.Context, from uint64) (sequence uint64, err error)
}

// Letters is the stream of dead letters.
type Letters interface {
	Stream
	Newest
}

// Registry knows vehicles and devices. Active gives nil when the device may send
// now; ErrUnavailable when that is not known yet; and any other error when it may not.
// It is asked for each message: it must not block.
type Registry interface {
	Active(vid protocol.VehicleID, did protocol.DeviceID) error
}

// Schemas keeps schema documents for ever. PutSchema is durable when it returns,
// and does nothing when the document is there. Schema finds a document by the
// prefix of its hash that batches carry, or gives ErrSchemaNotFound.
type Schemas interface {
	PutSchema(ctx context.Context, hash protocol.SchemaHash, document []byte) error
	Schema(ctx context.Context, id protocol.SchemaID) (document []byte, err error)
}

// VehicleSchemas is what Schemas may be too: a store that bounds what one vehicle brings
// into it. PutVehicleSchema is PutSchema, and its error wraps ErrFull when the vehicle has
// brought too many new documents lately; those that are there cost nobody anything.
type VehicleSchemas interface {
	PutVehicleSchema(ctx context.Context, vid protocol.VehicleID, hash protocol.SchemaHash, document []byte) error
}

// Decoded is one new batch of a stream. It and all it points at belong to the
// lake and the consumers together: they must not change it.
type Decoded struct {
	Stream   string // "UP" or "LOW"
	Sequence uint64 // in the stream
	Vehicle  protocol.VehicleID
	Device   protocol.DeviceID
	Header   batches.Header
	Campaign protocol.CampaignID
	Purpose  string // under which it was collected; empty: none was given
	Schema   *schemas.Schema
	Batch    *batches.Batch
	Samples  int       // in the batch
	Bytes    int       // of the payload
	Received time.Time // by the broker

	first, last int64 // times of the earliest and the latest row, in µs; first is after last when there are none
	cells       int   // values and times in memory, 8 bytes each
}

// Other is a message that is no telemetry batch: an event, a status, health.
type Word struct {
	Stream      string
	Sequence    uint64
	Topic       topics.Topic
	Device      protocol.DeviceID
	ID          protocol.MessageID // zero when the message has none
	ContentType string
	Properties  map[string]string
	Payload     []byte
	Received    time.Time
}

// Lake keeps samples for ever, in files that appear whole.
//
// Fits says why a batch can never be represented; it may be called at any time. Append takes one
// that fits into memory, with the purpose under which it was collected, empty if none was given,
// and when the broker received it. It is not called while Commit works, nor after an error of
// Commit until it gave nil. Commit makes everything appended, the stream position last, which
// rises from commit to commit, and what was added to the ledger durable in one step; after an error it changes nothing that a
// restart would see, and may be called again with the same arguments. Next is the first message that a restart
// reads again. Checkpoint is the position of the last commit, also across restarts, and what
// the commits were given, in their order; the first may be many joined by Fold.
type Lake interface {
	Fits(schema *schemas.Schema, b *batches.Batch) error
	Append(vehicle protocol.VehicleID, campaign protocol.CampaignID, purpose string, received time.Time,
		schema *schemas.Schema, b *batches.Batch) error
	Commit(last, next uint64, ledger []byte) error
	Checkpoint() (last uint64, ledgers [][]byte, err error)
}
