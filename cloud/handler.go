package cloud

import (
	"context"
	"errors"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/broker"
	"telltale.dev/cloud/campaign"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// handler is what the broker asks and tells the other rooms.
type handler struct{ *Cloud }

// storeWait bounds a change of the registry or the campaigns that a client waits for.
const storeWait = 10 * time.Second

// Connect implements broker.Handler.
func (h handler) Connect(client broker.Client) error {
	if client.Operator != "" {
		return nil
	}
	err := h.registry.Active(client.Vehicle, client.Device)
	if !errors.Is(err, registry.ErrUnknown) || !h.cfg.Dev {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	if err := h.registry.Register(ctx, client.Vehicle, client.Device, time.Now()); err != nil {
		return err
	}
	return h.registry.Active(client.Vehicle, client.Device)
}

// Publish implements broker.Handler.
func (h handler) Publish(p broker.Publish, done func(code byte)) {
	if p.Client.Operator != "" {
		go func() { done(h.operate(p)) }() // rare, and it waits for the disk
		return
	}
	h.front.Publish(ingest.Upload{
		Vehicle: p.Client.Vehicle, Device: p.Client.Device, Topic: p.Topic, Payload: p.Payload,
		ContentType: p.ContentType, Properties: p.Properties, Received: p.Received,
	}, func(code byte) {
		done(code)
		if code == ingest.CodeStored {
			h.broker.Deliver(forward(p))
		}
	})
}

// forward is what operators who subscribed to a vehicle's topics see of it.
func forward(p broker.Publish) broker.Message {
	return broker.Message{
		Topic: p.Topic.String(), Payload: p.Payload, ContentType: p.ContentType,
		Properties: p.Properties, Expiry: p.Expiry, QoS: 1,
	}
}

// operate takes a document from fleet operations and says the PUBACK's reason code.
func (h handler) operate(p broker.Publish) byte {
	if p.Topic.Kind != protocol.KindOpsConfig || p.Topic.Name != "campaign" {
		return ingest.CodeTopicInvalid
	}
	if len(p.Payload) > protocol.MaxDocument {
		return ingest.CodePayloadInvalid
	}
	id, err := protocol.ParseCampaignID(p.Topic.ID)
	if err != nil {
		return ingest.CodeTopicInvalid
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	if err := h.campaigns.Push(ctx, id, p.Payload); err != nil {
		h.cfg.Log.Error("campaign not stored", "error", err)
		return ingest.CodeInternal
	}
	return ingest.CodeStored
}

// Presence implements broker.Handler.
func (h handler) Presence(client broker.Client, p protocol.Presence) {
	now := time.Now().UTC()
	h.states.SetPresence(client.Vehicle, state.Presence{
		Device: p.Device, State: p.State, Since: now, Boot: p.Boot, Connection: p.Connection, Agent: p.Agent,
	})
	h.live.Publish(string(client.Vehicle), api.PresenceEvent{Time: now, Device: string(p.Device), Presence: string(p.State)})
}

// Retained implements broker.Handler: presence, documents and results are
// served from the rooms that own them.
func (h handler) Retained(filter string) []broker.Message {
	var kept []broker.Message
	add := func(m broker.Message) {
		if broker.Match(filter, m.Topic) {
			kept = append(kept, m)
		}
	}
	for _, v := range h.registry.Vehicles() {
		if doc, ok := h.campaigns.Document(v.ID); ok {
			add(brokerMessage(doc))
		}
		for _, p := range h.states.Presence(v.ID) {
			add(presenceMessage(v.ID, p))
		}
	}
	for _, result := range h.campaigns.Results() {
		add(brokerMessage(result))
	}
	return kept
}

func presenceMessage(vid protocol.VehicleID, p state.Presence) broker.Message {
	payload, _ := codec.Marshal(protocol.Presence{
		Version: 1, State: p.State, Device: p.Device, Boot: p.Boot,
		Connection: p.Connection, At: p.Since.UnixMilli(), Agent: p.Agent,
	})
	topic := protocol.Topic{Kind: protocol.KindPresence, Vehicle: vid, Device: p.Device}
	return broker.Message{Topic: topic.String(), Payload: payload, ContentType: protocol.ContentPresence, Retain: true, QoS: 1}
}

func brokerMessage(m campaign.Message) broker.Message {
	return broker.Message{
		Topic: m.Topic.String(), Payload: m.Payload, ContentType: m.ContentType, Retain: m.Retain, QoS: 1,
	}
}
