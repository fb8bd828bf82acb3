package broker

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// establish does the handshake, takes CONNECT and answers it. After nil the connection is accepted and its writer may
// begin.
func (c *connection) establish() error {
	first, body, err := c.receive() // the first read does the handshake
	if err != nil {
		return err
	}
	pk := &packets.Packet{FixedHeader: packets.FixedHeader{Type: first >> 4, Remaining: len(body)}}
	if err := pk.ConnectDecode(body); err != nil {
		return err
	}
	c.version, c.maxPacket = pk.ProtocolVersion, pk.Properties.MaximumPacketSize
	c.explain = c.version == 5 && (!pk.Properties.RequestProblemInfoFlag || pk.Properties.RequestProblemInfo == 1)
	if f := c.judge(pk); f != nil {
		if c.connack(f.code, f.text) == nil && c.CloseWrite() == nil {
			c.drain(0) // what came behind CONNECT would make the close a reset, and lose the answer
		}
		return f
	}
	_ = c.SetReadDeadline(c.deadline())
	if err := c.connack(codeSuccess, ""); err != nil {
		return err
	}
	c.startWriter()
	return nil
}

// judge gives the connection its place and its session, or says why not.
func (c *connection) judge(pk *packets.Packet) *fault {
	b := c.broker
	if b.places.Add(1) > int64(b.cfg.MaxConnections) {
		b.places.Add(-1)
		return &fault{codeBusy, reasonText(codeBusy)}
	}
	c.placed = true
	f := c.acceptable(pk)
	if f == nil {
		if code := b.admit(c, pk); code != codeSuccess {
			f = &fault{code, reasonText(code)}
		}
	}
	if f != nil {
		c.leavePlace() // before the answer, which may take as long as its client likes
	}
	return f
}

func (c *connection) leavePlace() {
	if c.placed {
		c.broker.places.Add(-1)
		c.placed = false
	}
}

// acceptable says what is wrong with a CONNECT, whoever sends it; the grammar was checked before. A client of MQTT 5
// without an identifier, or of 3.1.1 with a clean session, gets one [MQTT-3.1.3-6].
func (c *connection) acceptable(pk *packets.Packet) *fault {
	if code := pk.ConnectValidate(); code.Code != codeSuccess {
		return &fault{code.Code, code.Reason}
	}
	if pk.Connect.WillFlag && pk.Connect.WillQos > 1 {
		return &fault{codeQoSNotSupported, "will has QoS 2, expected 0 or 1"} // [MQTT-3.2.2-12]
	}
	if pk.Connect.ClientIdentifier == "" {
		if c.version < 5 && !pk.Connect.Clean {
			return &fault{codeClientID, reasonText(codeClientID)} // [MQTT-3.1.3-8]
		}
		c.assignedID = rand.Text()
	}
	return nil
}

// connack answers CONNECT. Reason String and user properties are left out when the client does not take such a large
// packet; a client that wants no problem information still may get them here [MQTT-3.1.2-29].
func (c *connection) connack(code byte, why string) error {
	if c.version < 5 && code != codeSuccess {
		code = code3(code)
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connack}, ProtocolVersion: c.version, ReasonCode: code,
		Mods: packets.Mods{MaxSize: c.maxPacket},
	}
	p := &pk.Properties
	p.ReceiveMaximum, p.ReasonString = uint16(c.broker.cfg.ReceiveMaximum), why
	if code == codeSuccess {
		c.welcome(&pk)
	} else {
		// MQTT 3.1.1 has other numbers (2 to 5); they are counted as they are sent.
		c.broker.counters.connects[code].Add(1)
	}
	var buf bytes.Buffer
	if err := pk.ConnackEncode(&buf); err != nil {
		return err
	}
	if c.maxPacket > 0 && buf.Len() > int(c.maxPacket) {
		return errConnackTooLarge // [MQTT-3.1.2-24]
	}
	_, err := c.Write(buf.Bytes())
	return err
}

var errConnackTooLarge = protocolError("the client takes no packet as large as CONNACK")

// welcome completes a CONNACK that accepts.
func (c *connection) welcome(pk *packets.Packet) {
	pk.SessionPresent = c.sessionPresent
	p := &pk.Properties
	p.MaximumQos, p.MaximumQosFlag = 1, true // [MQTT-3.2.2-9]
	p.AssignedClientID = c.assignedID        // [MQTT-3.1.3-7] [MQTT-3.2.2-16]
	p.TopicAliasMaximum = topicAliasMaximum
	p.MaximumPacketSize = maxPacket
	p.SharedSubAvailable, p.SharedSubAvailableFlag = 0, true
	p.User = []packets.UserProperty{{Key: "guarantee", Val: "stored"}}
	if c.keepAliveTold {
		p.ServerKeepAlive, p.ServerKeepAliveFlag = c.keepAlive, true // [MQTT-3.1.2-21]
	}
	if c.sessionExpiry > 0 {
		p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = c.sessionExpiry, true
	}
}

// deadline is when the client must have been heard again: after one and a half keep alives [MQTT-3.1.2-22].
func (c *connection) deadline() time.Time {
	return time.Now().Add(time.Duration(c.keepAlive) * 3 * time.Second / 2)
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
