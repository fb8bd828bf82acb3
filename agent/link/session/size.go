package session

import "github.com/eclipse/paho.golang/paho"

// PacketSize is the size in bytes of a PUBLISH at QoS 1 with these parts
// [MQTT-3.3]. A topic alias counts as well as the whole topic, as in the first
// packet that uses it.
func PacketSize(topic string, p *paho.PublishProperties, payload int) int {
	const text = 2  // length before a string
	properties := 3 // the alias
	if p.MessageExpiry != nil {
		properties += 5
	}
	if p.ContentType != "" {
		properties += 1 + text + len(p.ContentType)
	}
	for _, u := range p.User {
		properties += 1 + text + len(u.Key) + text + len(u.Value)
	}
	rest := text + len(topic) + 2 + varSize(properties) + properties + payload
	return 1 + varSize(rest) + rest
}

// varSize is the size of a variable byte integer [MQTT-1.5.5].
func varSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
