package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// form is how the value of a property is written (section 2.2.2.2).
type form uint8

const (
	formByte form = iota + 1
	formTwoBytes
	formFourBytes
	formVarint
	formText
	formBinary
	formPair
)

// property is one line of table 2-4 of MQTT 5.0: what a property is, and in which
// packets of a client it may be. All but those with many may be in a packet once.
type property struct {
	name     string
	form     form
	in       uint32 // a bit for each packet type, and one for the will
	min, max uint32 // of numbers; both 0: any
	many     bool
	topic    bool // a topic name: without wildcards
}

const (
	inConnect     = 1 << packets.Connect
	inPublish     = 1 << packets.Publish
	inSubscribe   = 1 << packets.Subscribe
	inUnsubscribe = 1 << packets.Unsubscribe
	inDisconnect  = 1 << packets.Disconnect
	inAuth        = 1 << packets.Auth
	inWill        = 1 // in place of the reserved packet type
	inAcks        = 1<<packets.Puback | 1<<packets.Pubrec | 1<<packets.Pubrel | 1<<packets.Pubcomp
)

// clientProperties are by identifier. What only servers send is in no packet of a client.
var clientProperties = [...]property{
	packets.PropPayloadFormat:          {name: "payload format indicator", form: formByte, in: inPublish | inWill, max: 1},
	packets.PropMessageExpiryInterval:  {name: "message expiry interval", form: formFourBytes, in: inPublish | inWill},
	packets.PropContentType:            {name: "content type", form: formText, in: inPublish | inWill},
	packets.PropResponseTopic:          {name: "response topic", form: formText, topic: true, in: inPublish | inWill},
	packets.PropCorrelationData:        {name: "correlation data", form: formBinary, in: inPublish | inWill},
	packets.PropSubscriptionIdentifier: {name: "subscription identifier", form: formVarint, in: inPublish | inSubscribe, min: 1, max: 1<<28 - 1},
	packets.PropSessionExpiryInterval:  {name: "session expiry interval", form: formFourBytes, in: inConnect | inDisconnect},
	packets.PropAuthenticationMethod:   {name: "authentication method", form: formText, in: inConnect | inAuth},
	packets.PropAuthenticationData:     {name: "authentication data", form: formBinary, in: inConnect | inAuth},
	packets.PropRequestProblemInfo:     {name: "request problem information", form: formByte, in: inConnect, max: 1},
	packets.PropWillDelayInterval:      {name: "will delay interval", form: formFourBytes, in: inWill},
	packets.PropRequestResponseInfo:    {name: "request response information", form: formByte, in: inConnect, max: 1},
	packets.PropReasonString:           {name: "reason string", form: formText, in: inAcks | inDisconnect | inAuth},
	packets.PropReceiveMaximum:         {name: "receive maximum", form: formTwoBytes, in: inConnect, min: 1, max: 1<<16 - 1},
	packets.PropTopicAliasMaximum:      {name: "topic alias maximum", form: formTwoBytes, in: inConnect},
	packets.PropTopicAlias:             {name: "topic alias", form: formTwoBytes, in: inPublish}, // its range has a code of its own
	packets.PropUser: {name: "user property", form: formPair, many: true,
		in: inConnect | inPublish | inWill | inSubscribe | inUnsubscribe | inDisconnect | inAuth | inAcks},
	packets.PropMaximumPacketSize: {name: "maximum packet size", form: formFourBytes, in: inConnect, min: 1, max: 1<<32 - 1},
}

// properties reads the properties of a packet, or packets.WillProperties, in MQTT 5.
func (r *fields) properties(kind byte) {
	if r.version < level5 || r.fault != nil {
		return
	}
	length := r.varint("property length")
	p := &fields{rest: r.bytes(int(length), "properties"), version: r.version}
	where := uint32(inWill)
	if kind != packets.WillProperties {
		where = 1 << kind
	}
	seen := uint64(0)
	for len(p.rest) > 0 {
		id := p.byte("property")
		if int(id) >= len(clientProperties) || clientProperties[id].in&where == 0 {
			p.fail(malformed(fmt.Sprintf("property %d does not belong into this packet", id)))
			break
		}
		rule := &clientProperties[id]
		if seen&(1<<id) != 0 && !rule.many {
			p.fail(protocolError(rule.name + " is there twice"))
		}
		seen |= 1 << id
		p.value(rule)
	}
	const method, data = 1 << packets.PropAuthenticationMethod, 1 << packets.PropAuthenticationData
	if seen&data != 0 && seen&method == 0 {
		p.fail(protocolError("authentication data without authentication method")) // section 3.1.2.11.10
	}
	if p.fault != nil {
		r.fail(p.fault)
	}
}

// value reads the value of a property.
func (r *fields) value(p *property) {
	switch p.form {
	case formText:
		if text := r.text(p.name); p.topic && bytes.ContainsAny(text, "+#") {
			r.fail(protocolError(p.name + " holds a wildcard")) // [MQTT-3.3.2-14]
		}
	case formBinary:
		r.binary(p.name)
	case formPair:
		r.text(p.name)
		r.text(p.name)
	default:
		n := r.number(p)
		if ranged := p.min != 0 || p.max != 0; ranged && r.fault == nil && (n < p.min || n > p.max) {
			r.fail(protocolError(fmt.Sprintf("%s is %d, expected %d to %d", p.name, n, p.min, p.max)))
		}
	}
}

// number reads the value of a property that is a number.
func (r *fields) number(p *property) (n uint32) {
	switch p.form {
	case formByte:
		n = uint32(r.byte(p.name))
	case formTwoBytes:
		if b := r.bytes(2, p.name); b != nil {
			n = uint32(binary.BigEndian.Uint16(b))
		}
	case formFourBytes:
		if b := r.bytes(4, p.name); b != nil {
			n = binary.BigEndian.Uint32(b)
		}
	case formVarint:
		n = r.varint(p.name)
	}
	return n
}
