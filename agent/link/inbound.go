package link

import (
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/agent/link/session"
	"telltale.dev/protocol/topics"
)

// receive hands a message to the downlink, in the order of arrival.
func (l *Link) receive(s *session.Session, p *packets.Publish, answer func(code byte, reason string)) {
	l.down.Receive(downlink.Arrival{Message: messageOf(p, time.Now()), Answer: answer}, s.Lost())
}

// messageOf gives a PUBLISH with its properties [MQTT-3.3.2.3]. A topic that is not one of ours is the zero one, which nobody takes.
func messageOf(p *packets.Publish, now time.Time) downlink.Message {
	topic, _ := topics.Parse(p.Topic)
	m := downlink.Message{Topic: topic, Payload: p.Payload, QoS: p.QoS, Retained: p.Retain, Received: now}
	if p.Properties == nil {
		return m
	}
	m.ContentType, m.Correlation, m.Response = p.Properties.ContentType, p.Properties.CorrelationData, p.Properties.ResponseTopic
	user := p.Properties.User
	user = user[:min(len(user), downlink.MaxUser+1)] // one too many is refused as well as all are, and costs less while it waits
	for _, u := range user {
		m.User = append(m.User, downlink.Property{Key: u.Key, Value: u.Value})
	}
	if e := p.Properties.MessageExpiry; e != nil {
		m.Expires, m.Expiry = true, time.Duration(*e)*time.Second
	}
	return m
}
