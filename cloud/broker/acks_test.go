package broker_test

import (
	"fmt"
	"testing"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol/topics"
)

// TestAcksOfOneTurn: acknowledgements that may go at the same time leave in one write, four bytes each.
func TestAcksOfOneTurn(t *testing.T) {
	t.Parallel()
	const n = 8
	held := make(chan func(byte), n)
	s := start(t, &cloud{publish: func(_ broker.Publish, done func(byte)) { held <- done }}, nil)
	r := s.device("v", "d")
	for id := uint16(1); id <= n; id++ {
		r.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
	}
	var done [n]func(byte)
	for i := range done {
		done[i] = <-held
	}
	for i := n - 1; i >= 0; i-- { // the first one releases all
		done[i](0)
	}
	var want []byte
	for id := byte(1); id <= n; id++ {
		want = append(want, 0x40, 2, 0, id)
	}
	buf := make([]byte, 1<<10)
	got, err := r.Conn.Read(buf) // what is in one record of TLS
	if err != nil || string(buf[:got]) != string(want) {
		t.Errorf("got % x, %v, want % x", buf[:got], err, want)
	}
}

// TestTopicsInTurn: a topic that comes again is the same, and what is none in between changes nothing.
func TestTopicsInTurn(t *testing.T) {
	t.Parallel()
	handler := &cloud{}
	r := start(t, handler, nil).device("v", "d")
	var want []topics.Topic
	for i, text := range []string{"v1/v/up/telemetry/a", "v1/v/up/telemetry/a", "v1/v/up/telemetry/b", "nonsense", "v1/v/up/telemetry/b", "v1/v/up/telemetry/a"} {
		code := r.publish(uint16(i+1), text, "x")
		topic, err := topics.Parse(text)
		if (code == 0) != (err == nil) {
			t.Errorf("%s: got code 0x%02X", text, code)
		}
		if err == nil {
			want = append(want, topic)
		}
	}
	var got []topics.Topic
	for _, p := range handler.all() {
		got = append(got, p.Topic)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
