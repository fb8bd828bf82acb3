package broker

import (
	"log/slog"
	"math"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where mochi hands over. It is called in the reader of each connection.
type hook struct {
	mqtt.HookBase
	broker *Broker
}

// newServer is mochi without its event loop, listeners, $SYS topics and stores:
// Serve is never called, only EstablishConnection.
func newServer(b *Broker) *mqtt.Server {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumClients = int64(b.cfg.MaxConnections)
	c.MaximumMessageExpiryInterval = 0 // else 24 h are stamped on every message
	c.MaximumClientWritesPending = mochiWrites
	c.MaximumPacketSize = maxPacket
	c.ReceiveMaximum = uint16(b.cfg.ReceiveMaximum)
	c.TopicAliasMaximum = topicAliasMaximum
	c.SharedSubAvailable = 0
	c.MinimumProtocolVersion = 4
	c.MaximumQos = 1
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return mqtt.New(&mqtt.Options{
		Capabilities:            c,
		ClientNetReadBufferSize: readBuffer,
		Logger:                  slog.New(redactor{b.log}),
		SysTopicResendInterval:  math.MaxInt32, // seconds; its ticker is never read
	})
}

func (h *hook) ID() string { return "telltale" }

func (h *hook) Provides(what byte) bool {
	switch what {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablished,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPublish:
		return true
	}
	return false
}

// OnConnect refuses with a CONNACK that says why; mochi would only close.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	c := cl.Net.Conn.(*connection)
	c.mochi = cl
	code := h.broker.admit(c, pk)
	if code == codeSuccess {
		return nil
	}
	refusal := packets.Code{Code: code, Reason: reasonText(code)}
	if c.version < 5 {
		refusal.Code = code3(code)
	}
	if err := h.broker.server.SendConnack(cl, refusal, false, nil); err != nil {
		return err
	}
	return refusal
}

// OnConnectAuthenticate has nothing to add: the certificate was checked in OnConnect.
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck is asked by mochi before it resolves a topic alias, so it cannot
// decide; OnPublish does. Subscriptions never get here.
func (h *hook) OnACLCheck(_ *mqtt.Client, _ string, write bool) bool { return write }

// OnSessionEstablished comes after CONNACK: from now on we write.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	cl.Net.Conn.(*connection).startWriter()
}

// OnPacketEncode completes what mochi writes itself.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c, ok := cl.Net.Conn.(*connection)
	if ok && pk.FixedHeader.Type == packets.Disconnect {
		h.broker.counters.disconnects[pk.ReasonCode].Add(1)
	}
	if !ok || pk.FixedHeader.Type != packets.Connack {
		return pk
	}
	// A client that wants no problem information (paho's default) still may get reason
	// string and user properties here [MQTT-3.1.2-29].
	pk.Mods.DisallowProblemInfo = false
	if pk.ReasonCode != codeSuccess {
		if pk.ProtocolVersion < 5 && pk.ReasonCode == codeUnspecified {
			pk.ReasonCode = code3(codeClientID) // mochi's for no client id and a session to keep [MQTT-3.1.3-8]
		}
		if pk.ProtocolVersion < 5 && pk.ReasonCode >= refusedFrom {
			pk.ReasonCode = code3(pk.ReasonCode) // whatever mochi has refused it for
		}
		// MQTT 3.1.1 has other numbers (2 to 5); they are counted as they are sent.
		h.broker.counters.connects[pk.ReasonCode].Add(1)
		return pk
	}
	pk.SessionPresent = c.sessionPresent
	p := &pk.Properties
	p.TopicAliasMaximum = topicAliasMaximum
	p.MaximumPacketSize = maxPacket
	p.SharedSubAvailable, p.SharedSubAvailableFlag = 0, true
	p.User = append(p.User, packets.UserProperty{Key: "guarantee", Val: "stored"})
	if c.sessionExpiry > 0 {
		p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = c.sessionExpiry, true
	}
	return pk
}

// OnPacketRead takes the packets of our own delivery away from mochi: it gets an
// acknowledgement of packet 0 instead, which it ignores.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := cl.Net.Conn.(*connection)
	if !c.admitted.Load() {
		return pk, nil // CONNECT
	}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return h.broker.precheck(c, pk)
	case packets.Puback:
		c.session.acknowledged(c, pk.PacketID, pk.ReasonCode)
	case packets.Subscribe:
		if code := pk.SubscribeValidate(); code.Code != codeSuccess || len(pk.Filters) > maxFilters {
			return refused(c, pk, codeProtocolError)
		}
		h.broker.subscribe(c, pk)
	case packets.Unsubscribe:
		if code := pk.UnsubscribeValidate(); code.Code != codeSuccess || len(pk.Filters) > maxFilters {
			return refused(c, pk, codeProtocolError)
		}
		h.broker.unsubscribe(c, pk)
	case packets.Disconnect:
		if !h.broker.departure(c, &pk) {
			return refused(c, pk, codeProtocolError)
		}
		return pk, nil
	case packets.Pingreq, packets.Connect: // a second CONNECT: mochi refuses it
		return pk, nil
	default: // PUBREC and the like: we never send QoS 2; AUTH: we never ask
		return refused(c, pk, codeProtocolError)
	}
	return ignored(), nil
}

// ignored is a packet that mochi does nothing with.
func ignored() packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}
}

// refused ends the connection from its reader.
func refused(c *connection, pk packets.Packet, code byte) (packets.Packet, error) {
	c.hangUp(code)
	return pk, packets.ErrRejectPacket
}

// OnPublish gets each publish with its alias resolved. ErrRejectPacket makes mochi
// forget it without an acknowledgement: that comes from us, when it is stored. Any
// other plain error would be acknowledged as success.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.broker.upload(cl.Net.Conn.(*connection), &pk)
	return pk, packets.ErrRejectPacket
}

// code3 translates a CONNACK code to MQTT 3.1.1 (section 3.2.2.3).
func code3(code byte) byte {
	switch code {
	case codeClientID:
		return 2
	case codeUnavailable, codeBusy, codeQuota:
		return 3
	}
	return 5
}

func reasonText(code byte) string {
	switch code {
	case codeClientID:
		return "client identifier is not the one of the certificate"
	case codeNotAuthorized:
		return "not authorised"
	case codeUnavailable:
		return "server unavailable"
	case codeBusy:
		return "server busy"
	case codeAuthMethod:
		return "bad authentication method"
	case codeQuota:
		return "too many sessions"
	case codePayloadFormat:
		return "will is not a presence of this device"
	}
	return "refused"
}
