package broker_test

import (
	"strings"
	"testing"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

// TestReasonOfARule: what the access table refuses is answered with the words of its row, not with those for the code.
func TestReasonOfARule(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.Explain = func(byte) string { return "for the code" } })
	device, operator := s.device("v", "d"), s.operator("anna")
	for topic, c := range map[string]struct {
		who  *raw
		code byte
		want string
	}{
		"v1/v/up/event/crash":     {device, 0x90, "no reader: of events only those of type storage are taken"},
		"v1/w/up/event/crash":     {device, 0x87, "not for this client"},
		"v1/v/up/nothing":         {device, 0x90, "for the code"},
		"v1/ops/config/policy/p":  {operator, 0x90, "no reader: of documents only those of kind campaign are taken"},
		"v1/ops/config/a/b/c/d/e": {operator, 0x90, "for the code"},
	} {
		c.who.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: topic, Payload: []byte("x")})
		ack, ok := c.who.read().Content.(*paho.Puback)
		if !ok || ack.ReasonCode != c.code || ack.Properties == nil || ack.Properties.ReasonString != c.want {
			t.Errorf("%s: got %+v, want 0x%02X, %q", topic, ack, c.code, c.want)
		}
	}
}

// TestReasonString: a refusal says why, unless the client does not want to know or takes no packet as large.
func TestReasonString(t *testing.T) {
	const why = "220 MiB free, 256 MiB are kept free: refusing"
	off, on, small, enough := byte(0), byte(1), uint32(40), uint32(200)
	for name, test := range map[string]struct {
		properties paho.Properties
		code       byte
		explain    func(byte) string
		want       string
	}{
		"default":                {paho.Properties{}, 0x97, func(byte) string { return why }, why},
		"wanted":                 {paho.Properties{RequestProblemInfo: &on}, 0x97, func(byte) string { return why }, why},
		"not wanted":             {paho.Properties{RequestProblemInfo: &off}, 0x97, func(byte) string { return why }, ""},
		"small packets":          {paho.Properties{MaximumPacketSize: &small}, 0x97, func(byte) string { return why }, ""},
		"packets that are large": {paho.Properties{MaximumPacketSize: &enough}, 0x97, func(byte) string { return why }, why},
		"nothing to say":         {paho.Properties{}, 0x97, func(byte) string { return "" }, ""},
		"nobody who says it":     {paho.Properties{}, 0x97, nil, ""},
		"too much to say":        {paho.Properties{}, 0x97, func(byte) string { return strings.Repeat("x", 1000) }, ""},
		"no refusal":             {paho.Properties{}, 0x00, func(byte) string { return why }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			handler := &cloud{publish: func(_ broker.Publish, done func(byte)) { done(test.code) }}
			s := start(t, handler, func(c *broker.Config) { c.Explain = test.explain })
			r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) { c.Properties = &test.properties }))
			r.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
			ack, ok := r.read().Content.(*paho.Puback)
			if !ok || ack.ReasonCode != test.code {
				t.Fatalf("got %+v, want a PUBACK with 0x%02X", ack, test.code)
			}
			got := ""
			if ack.Properties != nil {
				got = ack.Properties.ReasonString
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
