package cloud

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
	"telltale.dev/protocol/topics"
)

// The abilities of a room. Each is optional: a room has an ability when it has its method.
type (
	// taker takes kinds of messages that vehicles send. Kinds that the table of access calls unread are acknowledged
	// only when a room takes them.
	taker interface{ Takes() []backbone.Intake }
	// saver makes durable what the room made of messages. In a room without it that must be durable when the function
	// given to backbone.Takes returns.
	saver interface{ Save(context.Context) error }
	// retainer has messages for who subscribes later: those of one vehicle, without waiting for a disk.
	retainer interface {
		Retained(protocol.VehicleID) []backbone.Outgoing
	}
	// orderer takes kinds of documents that operators publish.
	orderer interface{ Orders() []backbone.Order }
	// resulter has messages for operators who subscribe later, without waiting for a disk.
	resulter interface{ Results() []backbone.Outgoing }
	// measurer has figures for /metrics: telltale_ROOM_NAME.
	measurer interface{ Figures() []backbone.Figure }
	// router puts routes on the API. For the description it is called on the zero value of the room's type.
	router interface{ Routes(huma.API) }
	// eventer has live events: a value of each kind's type. It is called on the zero value, too.
	eventer interface{ Events() map[string]any }
	// forgetter drops what the room keeps of a vehicle that was deleted, on disk when it returns.
	forgetter interface {
		Forget(context.Context, protocol.VehicleID) error
	}
	// runner works until ctx ends.
	runner interface{ Run(context.Context) error }
)

// row is a line of the table of rooms.
type row struct {
	name    string // 1 to 32 letters a to z or hyphens; names its checkpoint and store, and stands in dead letters, so it never changes
	figures string // how /metrics names it
	zero    any    // of the room's type
	open    func(context.Context, *Cloud) (any, error)
}

// table lists the rooms whose abilities are used through this file. A deleted vehicle is forgotten in this order.
func table() []row {
	return []row{
		of("state", "state", openState),
		of("vehicles", "registry", openVehicles),
		of("campaigns", "campaign", openCampaigns),
		of("updates", "update", openUpdates),
		of("storage", "storage", func(_ context.Context, c *Cloud) (*registry.Losses, error) {
			return &registry.Losses{Registry: c.registry, Ground: c.ground("storage")}, nil
		}),
		of("arrivals", "arrivals", openArrivals),
	}
}

// room makes the row of a room that needs only the ground, such as room("geofence", geofence.Open).
func room[R any](name string, open func(context.Context, backbone.Ground) (R, error)) row {
	return of(name, name, func(ctx context.Context, c *Cloud) (opened R, err error) {
		ground := c.ground(name)
		if ground.Store, err = c.backbone.Store(name); err != nil {
			return opened, err
		}
		return open(ctx, ground)
	})
}

func of[R any](name, figures string, open func(context.Context, *Cloud) (R, error)) row {
	var zero R
	return row{name, figures, zero, func(ctx context.Context, c *Cloud) (any, error) { return open(ctx, c) }}
}

// ground is what a room of its own stands on, but for a store.
func (c *Cloud) ground(name string) backbone.Ground {
	return backbone.Ground{
		Log: c.cfg.Log.With("room", name), Known: c.known,
		Tell: func(vid protocol.VehicleID, kind string, event any) { c.live.Publish(string(vid), kind, event) },
	}
}

func (c *Cloud) known(vid protocol.VehicleID) bool {
	_, ok := c.registry.Vehicle(vid)
	return ok
}

// opened is a room at work.
type opened struct {
	row
	room       any
	takes      []backbone.Intake
	orders     []backbone.Order
	unreadable atomic.Uint64 // documents that will never be better
}

func (c *Cloud) openRooms(ctx context.Context) error {
	for _, r := range append(table(), c.cfg.rooms...) {
		it, err := r.open(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		o := &opened{row: r, room: it}
		if t, ok := it.(taker); ok {
			o.takes = t.Takes()
		}
		if t, ok := it.(orderer); ok {
			o.orders = t.Orders()
		}
		c.rooms = append(c.rooms, o)
	}
	return nil
}

// able gives the rooms with an ability.
func able[A any](rooms []*opened) (list []A) {
	for _, o := range rooms {
		if a, ok := o.room.(A); ok {
			list = append(list, a)
		}
	}
	return list
}

// intake gives what takes the messages of a topic; nil: nothing.
func (o *opened) intake(t topics.Topic) *backbone.Intake {
	for i := range o.takes {
		if o.takes[i].Covers(t) {
			return &o.takes[i]
		}
	}
	return nil
}

// consumer is how a room that takes messages is told of them.
func (c *Cloud) consumer(o *opened) ingest.Consumer {
	consumer := ingest.Consumer{
		Name:  o.name,
		Wants: func(t topics.Topic) bool { return o.intake(t) != nil },
		Word:  func(ctx context.Context, m *ingest.Word) error { return c.receive(ctx, o, m) },
	}
	if s, ok := o.room.(saver); ok {
		consumer.Save = s.Save
	}
	return consumer
}

// receive is the one place where documents of vehicles are read, checked, counted and handed to a room. One that cannot
// be read becomes a dead letter; the log is told each time that their number has doubled, so that no vehicle can fill it.
func (c *Cloud) receive(ctx context.Context, o *opened, m *ingest.Word) error {
	vid := m.Topic.Vehicle
	if c.registry.WasDeleted(vid) { // it was on its way
		return nil
	}
	err := o.intake(m.Topic).Receive(ctx, backbone.Origin{Vehicle: vid, Device: m.Device, ID: m.ID, Received: m.Received}, m.Payload)
	if errors.Is(err, backbone.ErrUnreadable) {
		if n := o.unreadable.Add(1); bits.OnesCount64(n) == 1 {
			c.cfg.Log.Warn("documents of vehicles cannot be read and are among the dead letters", "room", o.name, "documents", n, "err", err)
		}
		return fmt.Errorf("%w: %w", ingest.ErrUnreadable, err)
	}
	return c.forgetLate(ctx, vid, err)
}

// orderOf gives what takes the documents of a topic of operators; nil: nothing.
func orderOf(rooms []*opened, t topics.Topic) *backbone.Order {
	for _, o := range rooms {
		for i := range o.orders {
			if t.Kind == topics.OpsConfig && t.Name == o.orders[i].Name {
				return &o.orders[i]
			}
		}
	}
	return nil
}

// taken says whether a room takes the messages that a client publishes to a topic, so that the broker acknowledges what the
// table of access does not know.
func (c *Cloud) taken(p principal.Principal, t topics.Topic) bool {
	switch p.Kind {
	case principal.Operator:
		return orderOf(c.rooms, t) != nil
	case principal.Device:
		return t.Vehicle == p.Vehicle && slices.ContainsFunc(c.rooms, func(o *opened) bool { return o.intake(t) != nil })
	}
	return false
}

// routes and events of the rooms, as far as their types have them.
func extensions(rows []row, rooms []*opened) (x api.Extensions) {
	for i, r := range rows {
		it := r.zero
		if i < len(rooms) {
			it = rooms[i].room
		}
		if a, ok := it.(router); ok {
			x.Routes = append(x.Routes, a.Routes)
		}
		if a, ok := it.(eventer); ok {
			x.Events = append(x.Events, a.Events())
		}
	}
	return x
}

// OpenAPI gives the description of all routes, those of the rooms included, as YAML.
func OpenAPI() ([]byte, error) { return api.OpenAPI(extensions(table(), nil)) }
