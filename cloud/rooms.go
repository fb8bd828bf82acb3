package cloud

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/access"
	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/campaign"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/update"
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
		of("campaigns", "campaign", func(_ context.Context, c *Cloud) (*campaign.Campaigns, error) { return c.campaigns, nil }),
		of("updates", "update", func(_ context.Context, c *Cloud) (*update.Updates, error) { return c.updates, nil }),
		of("storage", "storage", func(_ context.Context, c *Cloud) (*losses, error) { return &losses{c.registry, c.live, c.cfg.Log}, nil }),
	}
}

// room makes the row of a room that needs only the ground, such as room("geofence", geofence.Open).
func room[R any](name string, open func(context.Context, backbone.Ground) (R, error)) row {
	return of(name, name, func(ctx context.Context, c *Cloud) (opened R, err error) {
		ground, err := c.ground(name)
		if err != nil {
			return opened, err
		}
		return open(ctx, ground)
	})
}

func of[R any](name, figures string, open func(context.Context, *Cloud) (R, error)) row {
	var zero R
	return row{name, figures, zero, func(ctx context.Context, c *Cloud) (any, error) { return open(ctx, c) }}
}

// ground is what a room of its own stands on.
func (c *Cloud) ground(name string) (backbone.Ground, error) {
	bucket, err := c.bucket(name)
	return backbone.Ground{
		Store: bucket, Log: c.cfg.Log.With("room", name),
		Known: func(vid protocol.VehicleID) bool { _, ok := c.registry.Vehicle(vid); return ok },
		Tell:  func(vid protocol.VehicleID, kind string, event any) { c.live.Publish(string(vid), kind, event) },
	}, err
}

// opened is a room at work.
type opened struct {
	row
	room       any
	takes      []backbone.Intake
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

// decide asks the table of access. A publish of a device that the table refuses because nobody would read it is allowed
// when a room takes messages of that topic.
func (c *Cloud) decide(p principal.Principal, verb access.Verb, object string) *access.Rule {
	rule := access.Decide(p, verb, object)
	if rule.Answer != access.Unread || p.Kind != principal.Device {
		return rule
	}
	t, err := topics.Parse(object)
	if err != nil || t.Vehicle != p.Vehicle {
		return rule
	}
	for _, o := range c.rooms {
		if o.intake(t) != nil {
			return &access.Rule{Who: p.Kind, May: access.Publish, On: rule.On, Answer: access.Allow, Why: o.name}
		}
	}
	return rule
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
