package broker

import (
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

// MaxTracked is how many messages of Send one device has.
const MaxTracked = maxTracked

// QuotaDelay is how long a refusal for quota waits.
const QuotaDelay = quotaDelay

// Subscriptions is the number of subscriptions in the tree.
func (b *Broker) Subscriptions() int { return b.filters.len() }

// Tree is the subscription tree for tests: which of filters match topic.
func Tree(filterTexts []string, topic string) (matched []bool, left int) {
	var f filters
	sessions := make([]*session, len(filterTexts))
	for i, text := range filterTexts {
		sessions[i] = &session{}
		f.add(text, sessions[i], subscription{qos: 1})
	}
	found := f.match(topic)
	for i, s := range sessions {
		_, ok := found[s]
		matched = append(matched, ok)
		f.remove(filterTexts[i], s)
	}
	return matched, f.len() + len(f.root.children)
}

// FilterCode is what a subscription of MQTT 5 to filter is answered.
func FilterCode(p principal.Principal, filter string) byte {
	b := &Broker{cfg: Config{Access: access.Decide}}
	return b.subscribeCode(&connection{client: Client{Principal: p}, version: 5}, filter, 0)
}

// PresenceOrder tells a Handler of what connections of one device said: each step is a
// connection that comes ("connect"), or a word of one.
func PresenceOrder(h Handler, steps []PresenceStep) {
	const key = "dev/v/d"
	var b presenceBook
	b.init(h)
	for i, step := range steps {
		e := presenceEvent{presence: protocol.Presence{State: step.Word}, arrival: uint64(i)}
		e.publish.Client.Connection = step.Connection
		if step.Word == "" {
			b.connect(key, step.Connection, nil)
			continue
		}
		b.post(key, e)
	}
	b.wait()
}

// PresenceStep is one step of PresenceOrder; an empty Word is a new connection.
type PresenceStep struct {
	Connection uint64
	Word       protocol.PresenceState
}

// CheckAndDecode gives the code of the fault in a packet without remaining length, 0 for
// none; then also what the library's decoder says. Version 0 is a first packet.
func CheckAndDecode(version byte, packet []byte) (code byte, decoded error) {
	pk := packets.Packet{ProtocolVersion: version}
	body := packet[1:]
	var f *fault
	if version == 0 {
		if packet[0]>>4 != packets.Connect {
			return 0, nil
		}
		_, f = checkConnect(packet[0]&0x0f, body)
	} else {
		f = checkPacket(version, packet[0], body)
	}
	if f != nil {
		return f.code, nil
	}
	if err := pk.FixedHeader.Decode(packet[0]); err != nil {
		return 0, err
	}
	pk.FixedHeader.Remaining = len(body)
	decoders := map[byte]func([]byte) error{
		packets.Connect: pk.ConnectDecode, packets.Publish: pk.PublishDecode, packets.Puback: pk.PubackDecode,
		packets.Pubrec: pk.PubrecDecode, packets.Pubrel: pk.PubrelDecode, packets.Pubcomp: pk.PubcompDecode,
		packets.Subscribe: pk.SubscribeDecode, packets.Unsubscribe: pk.UnsubscribeDecode,
		packets.Disconnect: pk.DisconnectDecode, packets.Auth: pk.AuthDecode,
	}
	if decode := decoders[pk.FixedHeader.Type]; decode != nil {
		return 0, decode(append([]byte(nil), body...))
	}
	return 0, nil
}

// WellFormed says whether a filter may be in the tree.
func WellFormed(filter string) bool { return wellFormed(strings.Split(filter, "/")) }
