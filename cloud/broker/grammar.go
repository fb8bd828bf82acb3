package broker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"
)

// fault is why a packet ends its connection: a reason code and what was expected, in
// words that hold nothing of the packet.
type fault struct {
	code byte
	text string
}

func (f *fault) Error() string { return f.text }

func malformed(what string) *fault     { return &fault{codeMalformed, what} }
func protocolError(what string) *fault { return &fault{codeProtocolError, what} }

// checkPacket checks a packet of an accepted client against MQTT 5.0 or 3.1.1, before
// the library decodes it, which takes much that the standards forbid and panics on some.
// first is the first byte of the fixed header, body what follows the remaining length.
// It says nothing of what a topic means or who may use it.
func checkPacket(version, first byte, body []byte) *fault {
	kind := first >> 4
	if f := checkFlags(kind, first&0x0f); f != nil {
		return f
	}
	r := &fields{rest: body, version: version}
	switch kind {
	case packets.Publish:
		checkPublish(r, first)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		r.packetID()
		r.reason(kind)
	case packets.Subscribe:
		checkSubscribe(r)
	case packets.Unsubscribe:
		checkUnsubscribe(r)
	case packets.Pingreq:
	case packets.Disconnect:
		r.reason(kind)
	case packets.Auth:
		if version < 5 {
			return malformed("packet type 15 is not of MQTT 3.1.1")
		}
		if r.reason(kind); r.fault == nil && len(r.rest) == 0 {
			r.fail(protocolError("AUTH without an authentication method in CONNECT")) // section 4.12
		}
	case packets.Reserved:
		return malformed("packet type 0 is reserved")
	case packets.Connect:
		return protocolError("a second CONNECT")
	default:
		return protocolError("a packet that only servers send")
	}
	return r.end()
}

// checkFlags: the low four bits of the first byte (section 2.1.3).
func checkFlags(kind, flags byte) *fault {
	want := byte(0)
	switch kind {
	case packets.Publish:
		switch {
		case flags&0x06 == 0x06:
			return malformed("PUBLISH has QoS 3, expected 0 to 2") // [MQTT-3.3.1-4]
		case flags&0x0e == 0x08:
			return malformed("PUBLISH of QoS 0 has DUP set") // [MQTT-3.3.1-2]
		}
		return nil
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		want = 2
	}
	if flags != want {
		return malformed("flags of the fixed header are not those of the packet type")
	}
	return nil
}

func checkPublish(r *fields, first byte) {
	r.text("topic")
	if first&0x06 != 0 {
		r.packetID()
	}
	r.properties(packets.Publish)
	r.rest = nil // the payload is anything
}

func checkSubscribe(r *fields) {
	r.packetID()
	r.properties(packets.Subscribe)
	if len(r.rest) == 0 {
		r.fail(protocolError("SUBSCRIBE has no filter, expected one at least")) // [MQTT-3.8.3-2]
	}
	for len(r.rest) > 0 {
		filter := r.text("filter")
		options := r.byte("options of a filter")
		switch qos, handling := options&3, options>>4&3; {
		case r.version < 5 && options > 2, options&0xc0 != 0:
			r.fail(malformed("reserved bits are set in the options of a filter")) // [MQTT-3.8.3-5]
		case qos == 3:
			r.fail(protocolError("a filter asks for QoS 3, expected 0 to 2"))
		case handling == 3:
			r.fail(protocolError("retain handling is 3, expected 0 to 2"))
		case options&4 != 0 && bytes.HasPrefix(filter, []byte("$share/")):
			r.fail(protocolError("no-local on a shared subscription")) // [MQTT-3.8.3-4]
		}
	}
}

func checkUnsubscribe(r *fields) {
	r.packetID()
	r.properties(packets.Unsubscribe)
	if len(r.rest) == 0 {
		r.fail(protocolError("UNSUBSCRIBE has no filter, expected one at least")) // [MQTT-3.10.3-2]
	}
	for len(r.rest) > 0 {
		r.text("filter")
	}
}

// Protocol levels of CONNECT.
const (
	level3 = 4 // MQTT 3.1.1
	level5 = 5
)

// checkConnect checks the body of a first packet that is a CONNECT. level is its protocol
// level, 0 when it cannot be read: then there is no form for an answer.
func checkConnect(flags byte, body []byte) (level byte, f *fault) {
	r := &fields{rest: body}
	name := string(r.binary("protocol name"))
	level = r.byte("protocol level")
	switch {
	case r.fault != nil:
		return 0, r.fault
	case name != "MQTT" || level != level3 && level != level5:
		return level, &fault{codeVersion, "unsupported protocol, expected MQTT 5.0 or 3.1.1"} // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
	case flags != 0:
		return level, malformed("flags of the fixed header are not those of the packet type")
	}
	r.version = level
	checkConnectRest(r)
	return level, r.end()
}

func checkConnectRest(r *fields) {
	const (
		reserved, willFlag, willQoS, willRetain, password, userName = 0x01, 0x04, 0x18, 0x20, 0x40, 0x80
	)
	flags := r.byte("connect flags")
	switch {
	case flags&reserved != 0:
		r.fail(malformed("reserved connect flag is set")) // [MQTT-3.1.2-3]
	case flags&willFlag == 0 && flags&(willQoS|willRetain) != 0:
		r.fail(malformed("will QoS or will retain without a will")) // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
	case flags&willQoS == willQoS:
		r.fail(malformed("will QoS is 3, expected 0 to 2")) // [MQTT-3.1.2-12]
	case r.version < level5 && flags&(password|userName) == password:
		r.fail(malformed("password without user name")) // MQTT 3.1.1 [MQTT-3.1.2-22]
	}
	r.bytes(2, "keep alive")
	r.properties(packets.Connect)
	r.text("client identifier")
	if flags&willFlag != 0 {
		r.properties(packets.WillProperties)
		r.text("will topic")
		r.binary("will payload")
	}
	if flags&userName != 0 {
		r.text("user name")
	}
	if flags&password != 0 {
		r.binary("password")
	}
}
