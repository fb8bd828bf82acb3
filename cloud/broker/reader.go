package broker

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Ends of a connection that are no fault of the network.
var (
	errDisconnected = errors.New("disconnected by the client")
	errHungUp       = errors.New("disconnected by the broker")
)

// pingresp is the whole packet.
var pingresp = []byte{packets.Pingresp << 4, 0}

// read is the reader: it takes one packet after the other until the connection ends. Its stack stays as long as the
// connection does, so that packets, which are large structs, are not on it.
func (c *connection) read() error {
	c.source.shallow = c.source.raw != nil
	for {
		_ = c.SetReadDeadline(c.deadline())
		first, body, err := c.receive()
		if err != nil {
			return err
		}
		if err := c.take(first, body); err != nil {
			return err
		}
	}
}

// take handles one packet, which was checked, and owns its body.
func (c *connection) take(first byte, body []byte) error {
	switch kind := first >> 4; kind {
	case packets.Pingreq:
		c.sendControl(pingresp)
		return nil
	case packets.Puback:
		code := byte(codeSuccess)
		if c.version == 5 && len(body) > 2 {
			code = body[2]
		}
		c.session.acknowledged(c, binary.BigEndian.Uint16(body), code)
		return nil
	case packets.Publish, packets.Subscribe, packets.Unsubscribe, packets.Disconnect:
		return c.takeDecoded(first, body)
	default: // PUBREC and the like: we never send QoS 2; AUTH: we never ask
		return c.refuseReading(codeProtocolError)
	}
}

// takeDecoded handles a packet of those that the library decodes. What it decodes refers to body and not to the packet,
// which is used again.
func (c *connection) takeDecoded(first byte, body []byte) error {
	pk, _ := c.broker.packets.Get().(*packets.Packet)
	if pk == nil {
		pk = new(packets.Packet)
	}
	pk.ProtocolVersion = c.version
	err := c.handle(pk, first, body)
	*pk = packets.Packet{}
	c.broker.packets.Put(pk)
	return err
}

// handle decodes a packet into pk and does what it asks for.
func (c *connection) handle(pk *packets.Packet, first byte, body []byte) error {
	if err := pk.FixedHeader.Decode(first); err != nil {
		return c.refuseReading(codeMalformed)
	}
	pk.FixedHeader.Remaining = len(body)
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if pk.PublishDecode(body) != nil {
			return c.refuseReading(codeMalformed)
		}
		return c.published(pk)
	case packets.Subscribe:
		if pk.SubscribeDecode(body) != nil || pk.SubscribeValidate().Code != codeSuccess || len(pk.Filters) > maxFilters {
			return c.refuseReading(codeProtocolError)
		}
		c.broker.subscribe(c, pk)
	case packets.Unsubscribe:
		if pk.UnsubscribeDecode(body) != nil || pk.UnsubscribeValidate().Code != codeSuccess || len(pk.Filters) > maxFilters {
			return c.refuseReading(codeProtocolError)
		}
		c.broker.unsubscribe(c, pk)
	case packets.Disconnect:
		if pk.DisconnectDecode(body) != nil || !c.broker.departure(c, pk, body) {
			return c.refuseReading(codeProtocolError)
		}
		return errDisconnected
	}
	return nil
}

// refuseReading ends the connection from its reader.
func (c *connection) refuseReading(code byte) error {
	c.hangUp(code)
	return errHungUp
}

// published takes a PUBLISH whose topic may be an alias. One that is not taken for reasons of its own is refused in its
// PUBACK; one that breaks the rules ends the connection.
func (c *connection) published(pk *packets.Packet) error {
	if pk.FixedHeader.Qos > 1 {
		return c.refuseReading(codeQoSNotSupported) // [MQTT-3.2.2-11]
	}
	if code := pk.PublishValidate(topicAliasMaximum); code.Code != codeSuccess {
		return c.refuseReading(code.Code)
	}
	if pk.Properties.TopicAliasFlag && (strings.HasPrefix(pk.TopicName, "$") || len(pk.TopicName) > maxAliased) {
		return c.refuseReading(codeTopicInvalid) // a topic that no client may set: an alias must not have it either
	}
	if !c.resolve(pk) {
		return c.refuseReading(codeAliasInvalid)
	}
	return c.broker.upload(c, pk)
}

// maxAliased bounds each topic that a connection keeps for an alias, in bytes. No topic of ours is that long.
const maxAliased = 1 << 10

// resolve gives a PUBLISH its topic, or remembers it for its alias [MQTT-3.3.2-12]. It is false for an alias that was never set.
func (c *connection) resolve(pk *packets.Packet) bool {
	alias := int(pk.Properties.TopicAlias)
	switch {
	case alias == 0:
	case pk.TopicName == "":
		if alias >= len(c.aliases) || c.aliases[alias] == "" {
			return false
		}
		pk.TopicName = c.aliases[alias]
	default:
		if alias >= len(c.aliases) {
			c.aliases = append(slices.Clip(c.aliases), make([]string, alias+1-len(c.aliases))...)
		}
		if c.aliases[alias] != pk.TopicName {
			c.aliases[alias] = strings.Clone(pk.TopicName) // else it keeps the whole packet
		}
	}
	return true
}
