package backbone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// Ground is what a room of the cloud is opened with. Package cloud says what a room may do.
type Ground struct {
	// Store keeps the room's entries. A key is the identifier of a vehicle, or begins with that and "/".
	Store Store
	// Known says whether a vehicle is registered. The room must not call it while it holds a lock that a function
	// given to Takes needs.
	Known func(protocol.VehicleID) bool
	// Tell hands a live event to who watches a vehicle. Kind is one of the room's Events; event becomes JSON.
	Tell func(vid protocol.VehicleID, kind string, event any)
	Log  *slog.Logger
}

// Origin says where a document came from.
type Origin struct {
	Vehicle  protocol.VehicleID
	Device   protocol.DeviceID  // of the certificate
	ID       protocol.MessageID // zero when the message has none
	Received time.Time          // by the broker
}

// Document is what a vehicle says, as a pointer to the struct.
type Document[T any] interface {
	*T
	// Validate says which field is wrong.
	Validate() error
	// Sender is the device that the document names as its own; empty: the kind names none.
	Sender() protocol.DeviceID
}

// Intake is one kind of message that a room takes. Takes makes it.
type Intake struct {
	Kind topics.Kind
	Name string // of events their type, of documents theirs; empty: all of the kind
	take func(ctx context.Context, from Origin, payload []byte) error
}

// ErrUnreadable is wrapped by the error of Receive when a document will never be better.
var ErrUnreadable = errors.New("document cannot be read")

// Takes makes the Intake of documents of type T: they are read, their fields and their sender checked, and take
// gets what passed. An error of take means "not now": the same document is offered again, and what its vehicle
// sent behind it waits. What take made of a document must be durable when it returns, or when the room's Save does.
// After a crash the last documents may come again, in the same order.
func Takes[T any, P Document[T]](kind topics.Kind, name string, take func(ctx context.Context, from Origin, word T) error) Intake {
	return Intake{kind, name, func(ctx context.Context, from Origin, payload []byte) error {
		var word T
		err := document.UnmarshalOpen(payload, &word)
		if err == nil {
			err = P(&word).Validate()
		}
		if did := P(&word).Sender(); err == nil && did != "" && did != from.Device {
			err = errors.New("it names another device than the certificate")
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		return take(ctx, from, word)
	}}
}

// Covers says whether the intake takes messages of a topic.
func (i *Intake) Covers(t topics.Topic) bool {
	return t.Kind == i.Kind && (i.Name == "" || t.Name == i.Name)
}

// Receive reads and checks a document and hands it to the room.
func (i *Intake) Receive(ctx context.Context, from Origin, payload []byte) error {
	return i.take(ctx, from, payload)
}

// Order is one kind of document that operators publish, on v1/ops/config/NAME/{id}.
type Order struct {
	Name string
	// Take is called in the order in which an operator publishes. What is wrong with a document it says on the topic of
	// results, and to reply unless that is nil; its error means that the document could not be stored.
	Take func(ctx context.Context, id string, payload []byte, reply *Reply) error
}

// Figure is one number of a room for /metrics, read when it is asked for.
type Figure struct {
	Name, Help string
	Gauge      bool // it may fall; else it counts since the start of the process, and _total is added to its name
	Value      func() float64
}

// Outgoing is a message of a room for the broker to deliver.
type Outgoing struct {
	Topic       topics.Topic
	ContentType string
	Payload     []byte
	Kept        bool   // for who comes later, too; else only for who listens now
	Reply       *Reply // where the same goes beside; nil: nowhere
}

// Reply is where an operator wants the results of one request (MQTT 5, 4.10). It is never changed.
type Reply struct {
	Topic       string
	Correlation []byte
}
