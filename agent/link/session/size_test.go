package session_test

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/link/session"
)

// The size that is compared with the server's maximum is that of the bytes that paho writes.
func TestPacketSizeIsExact(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", rand.IntN(n)) }
	for range 2000 {
		p := &paho.Publish{QoS: 1, PacketID: 1, Topic: text(300), Payload: make([]byte, rand.IntN(1<<rand.IntN(19))), Properties: &paho.PublishProperties{
			ContentType: text(200), TopicAlias: paho.Uint16(1),
		}}
		if rand.IntN(2) == 0 {
			p.Properties.MessageExpiry = paho.Uint32(1)
		}
		for range rand.IntN(4) {
			p.Properties.User.Add(text(10), text(300))
		}
		want, err := p.Packet().WriteTo(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got := session.PacketSize(p.Topic, p.Properties, len(p.Payload)); got != int(want) {
			t.Fatalf("size: got %d, want %d", got, want)
		}
	}
}
