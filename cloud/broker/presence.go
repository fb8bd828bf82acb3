package broker

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"

	"telltale.dev/protocol/principal"
)

const presenceVersion = 1

// will is the last will of a device, checked at CONNECT.
type will struct {
	publish  Publish // without Received and the connection's number
	presence protocol.Presence
	delay    time.Duration
}

// newWill checks the will of a CONNECT, nil when there is none. The only will there
// is says that a device is lost, on its own presence topic, with QoS 1 and retained.
func (b *Broker) newWill(holder principal.Principal, pk *packets.Packet) (*will, byte) {
	if !pk.Connect.WillFlag {
		return nil, codeSuccess
	}
	topic, err := topics.Parse(pk.Connect.WillTopic)
	allowed := err == nil && b.cfg.Access(holder, access.Will, pk.Connect.WillTopic).Allowed()
	if !allowed || pk.Connect.WillQos != 1 || !pk.Connect.WillRetain {
		return nil, codeNotAuthorized
	}
	presence, err := parsePresence(holder.Device, pk.Connect.WillPayload)
	if err != nil || presence.State != protocol.PresenceLost {
		return nil, codePayloadFormat
	}
	ownWill(pk)
	p := &pk.Connect.WillProperties
	properties, ok := userProperties(p.User)
	if !ok {
		return nil, codeQuota
	}
	if p.ContentType == "" { // paho.golang v0.23 leaves it out of wills
		p.ContentType = protocol.ContentPresence
	}
	w := &will{
		presence: presence,
		delay:    time.Duration(p.WillDelayInterval) * time.Second,
		publish: Publish{
			Client: Client{Principal: holder}, Topic: topic, Retain: true, QoS: 1, Payload: pk.Connect.WillPayload, ContentType: p.ContentType,
			Properties: properties, Expiry: time.Duration(p.MessageExpiryInterval) * time.Second,
		},
	}
	w.publish.setForwarded(p)
	return w, codeSuccess
}

// ownWill gives what a will keeps memory of its own: decoded as it is, it keeps the whole CONNECT, which may have 256 KiB.
func ownWill(pk *packets.Packet) {
	pk.Connect.WillPayload = bytes.Clone(pk.Connect.WillPayload)
	p := &pk.Connect.WillProperties
	p.ContentType, p.ResponseTopic, p.CorrelationData = strings.Clone(p.ContentType), strings.Clone(p.ResponseTopic), bytes.Clone(p.CorrelationData)
	for i := range p.User {
		p.User[i].Key, p.User[i].Val = strings.Clone(p.User[i].Key), strings.Clone(p.User[i].Val)
	}
}

// event is the will of a session as what has happened now. The caller holds Broker.mu.
func (w *will) event(s *session) *presenceEvent {
	e := &presenceEvent{publish: w.publish, presence: w.presence, arrival: endArrival, unseen: true}
	e.publish.Client.Connection = s.current
	return e
}

// parsePresence reads a presence of a device.
func parsePresence(device protocol.DeviceID, payload []byte) (protocol.Presence, error) {
	var p protocol.Presence
	if len(payload) > maxPresence {
		return protocol.Presence{}, fmt.Errorf("presence: %d bytes, expected at most %d", len(payload), maxPresence)
	}
	// A vehicle of a later version may say more; only what it lists as essential is needed.
	if err := document.UnmarshalOpen(payload, &p); err != nil {
		return protocol.Presence{}, fmt.Errorf("presence: %w", err)
	}
	switch {
	case p.Version != presenceVersion:
		return protocol.Presence{}, fmt.Errorf("presence: version %d, expected %d", p.Version, presenceVersion)
	case p.Device != device:
		return protocol.Presence{}, fmt.Errorf("presence: names another device than the certificate")
	}
	switch p.State {
	case protocol.PresenceOnline, protocol.PresenceAsleep, protocol.PresenceOffline, protocol.PresenceLost:
		return p, nil
	}
	return protocol.Presence{}, fmt.Errorf("presence: state is none of online, asleep, offline, lost")
}
