package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/broker"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
	"telltale.dev/protocol/topics"
)

// handler is what the broker asks and tells the other rooms.
type handler struct {
	dev      bool // devices may register themselves, see Config.Dev
	registry *registry.Registry
	states   *state.Room
	front    *ingest.Front
	live     *api.Live
	rooms    []*opened
	broker   clients // set before the broker runs
	log      *slog.Logger
}

// clients are the broker's, for its handler.
type clients interface {
	Deliver(broker.Message)
	Disconnect(protocol.VehicleID, protocol.DeviceID, byte) int
}

var _ broker.Handler = (*handler)(nil)

// storeWait bounds a change of the registry or the campaigns that a client waits for.
const storeWait = 10 * time.Second

// Connect implements broker.Handler.
func (h *handler) Connect(client broker.Client) error {
	if client.Kind != principal.Device {
		return nil
	}
	err := h.registry.Active(client.Vehicle, client.Device)
	if errors.Is(err, registry.ErrUnknown) && h.dev {
		if err = h.register(client); err == nil {
			err = h.registry.Active(client.Vehicle, client.Device)
		}
	}
	return connectError(err)
}

// register takes a device in that a certificate of the development authority vouches for.
func (h *handler) register(client broker.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	err := h.registry.Register(ctx, client.Vehicle, client.Device, time.Now())
	if err != nil {
		h.log.Warn("device not registered", "err", err)
	}
	return err
}

// connectError says in the broker's words why a device may not connect.
func connectError(err error) error {
	switch {
	case errors.Is(err, registry.ErrUnknown), errors.Is(err, registry.ErrFull):
		return fmt.Errorf("%w: %w", broker.ErrNotRegistered, err)
	case errors.Is(err, registry.ErrNotActive):
		return fmt.Errorf("%w: %w", broker.ErrNotActive, err)
	}
	return err
}

// Publish implements broker.Handler. What operators publish is rare and done at
// once, in the order in which they publish it.
func (h *handler) Publish(p broker.Publish, done func(code byte)) {
	if p.Client.Kind != principal.Device {
		done(h.operate(p))
		return
	}
	if p.Topic.Kind == topics.Presence {
		done(h.announce(p))
		return
	}
	h.front.Publish(upload(p), func(code byte) {
		done(code)
		switch {
		case code == ingest.CodeNotAuthorized:
			h.expel(p.Client)
		case code == ingest.CodeStored:
			h.broker.Deliver(forward(p))
		}
	})
}

// announce takes a presence of an active device. It is no telemetry: it is known as
// soon as it is heard, and unknown after a restart, so that neither the vehicle's quota
// nor a full disk may keep the cloud from learning that a device goes. The stream gets a
// copy while it has room; the broker bounds how often Presence is called.
func (h *handler) announce(p broker.Publish) byte {
	if h.registry.Active(p.Client.Vehicle, p.Client.Device) != nil {
		h.expel(p.Client)
		return ingest.CodeNotAuthorized
	}
	h.front.Publish(upload(p), func(byte) {})
	return ingest.CodeStored
}

func upload(p broker.Publish) ingest.Upload {
	return ingest.Upload{
		Vehicle: p.Client.Vehicle, Device: p.Client.Device, Topic: p.Topic, Payload: p.Payload,
		ContentType: p.ContentType, Properties: p.Properties, Received: p.Received,
	}
}

// expel disconnects a device that is not active but connected all the same: it was
// suspended between its CONNECT and its session. A message may be refused late, like
// the will of an earlier connection, so what counts is how things stand now.
func (h *handler) expel(client broker.Client) {
	if h.registry.Active(client.Vehicle, client.Device) != nil {
		h.broker.Disconnect(client.Vehicle, client.Device, ingest.CodeNotAuthorized)
	}
}

// forward is what operators who subscribed to a vehicle's topics see of it.
func forward(p broker.Publish) broker.Message {
	return broker.Message{
		Topic: p.Topic.String(), Payload: p.Payload, ContentType: p.ContentType,
		User: p.User, Format: p.Format, Response: p.Response, Correlation: p.Correlation, Expiry: p.Expiry, QoS: p.QoS,
	}
}

// operate hands a document of fleet operations to its room and gives the PUBACK's reason
// code. What is wrong with the document itself is said on its result topic, which
// clients that know no reason codes can read too.
func (h *handler) operate(p broker.Publish) byte {
	order := orderOf(h.rooms, p.Topic)
	if order == nil {
		return ingest.CodeTopicInvalid
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	var reply *backbone.Reply
	if p.Reply != "" {
		reply = &backbone.Reply{Topic: p.Reply, Correlation: p.Correlation}
	}
	if err := order.Take(ctx, p.Topic.ID, p.Payload, reply); err != nil {
		h.log.Error("document not stored", "kind", order.Name, "err", err)
		return ingest.CodeInternal
	}
	return ingest.CodeStored
}

// Presence implements broker.Handler.
func (h *handler) Presence(p broker.Publish, said protocol.Presence) {
	vid := p.Client.Vehicle
	known := state.Presence{Presence: said, Since: time.Now().UTC(), Said: p.Payload}
	if _, ok := h.registry.Vehicle(vid); ok { // else it was deleted, and this is its end
		h.states.SetPresence(vid, known)
		if _, ok := h.registry.Vehicle(vid); !ok { // it was deleted meanwhile, and its state may have been removed before
			h.states.RemovePresence(vid, said.Device)
		}
	}
	h.live.Publish(string(vid), "presence", api.PresenceEvent{Time: known.Since, Device: string(said.Device), Presence: string(said.State)})
	m := forward(p)
	m.Retain = true
	h.broker.Deliver(m)
}

// Retained implements broker.Handler: presence, documents and results are served
// from the rooms that own them. A fleet that connects asks for each vehicle's own
// document, so that must not cost more the larger the fleet is.
func (h *handler) Retained(filter string) []broker.Message {
	var kept []broker.Message
	add := func(m broker.Message) {
		if broker.Match(filter, m.Topic) {
			kept = append(kept, m)
		}
	}
	vehicle := func(vid protocol.VehicleID) {
		for _, room := range able[retainer](h.rooms) {
			for _, m := range room.Retained(vid) {
				add(outgoing(m))
			}
		}
	}
	branch, _, _ := strings.Cut(strings.TrimPrefix(filter, "v1/"), "/")
	vid, err := protocol.ParseVehicleID(branch) // fails for + and #
	switch {
	case err == nil && branch != "ops":
		vehicle(vid)
		return kept
	case err != nil:
		for _, v := range h.registry.Vehicles() {
			vehicle(v.ID)
		}
	}
	for _, room := range able[resulter](h.rooms) {
		for _, m := range room.Results() {
			add(outgoing(m))
		}
	}
	return kept
}

func outgoing(m backbone.Outgoing) broker.Message {
	return broker.Message{Topic: m.Topic.String(), Payload: m.Payload, ContentType: m.ContentType, Retain: m.Kept, QoS: 1}
}

// deliver sends a room's message, and the same to who asked for it.
func (c *Cloud) deliver(m backbone.Outgoing) {
	c.broker.Deliver(outgoing(m))
	if r := m.Reply; r != nil {
		c.broker.Deliver(broker.Message{
			Topic: r.Topic, Payload: m.Payload, ContentType: m.ContentType, Correlation: r.Correlation, QoS: 1,
		})
	}
}
