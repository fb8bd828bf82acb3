package link

import (
	"fmt"
	"time"

	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
	"telltale.dev/protocol/delivery"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// presenceVersion is the layout of protocol.Presence that we write.
const presenceVersion = 1

// presence encodes what the device says of connection n, at the vehicle's time at.
func (l *Link) presence(state protocol.PresenceState, n uint64, at time.Time, wakes time.Time) ([]byte, error) {
	p := protocol.Presence{
		Version: presenceVersion, State: state, Device: l.cfg.Device, Boot: l.cfg.Boot,
		Connection: n, At: at.UnixMilli(), Agent: l.cfg.Version,
	}
	if state == protocol.PresenceAsleep && !wakes.IsZero() {
		p.WakesAt = wakes.UnixMilli()
	}
	payload, err := document.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	return payload, nil
}

func (l *Link) presenceTopic() string {
	return topics.Topic{Kind: topics.Presence, Vehicle: l.cfg.Vehicle, Device: l.cfg.Device}.String()
}

// presenceItem is a presence as a publish.
func (l *Link) presenceItem(state protocol.PresenceState, n uint64, wakes time.Time) (*uplink.Item, error) {
	payload, err := l.presence(state, n, time.Now(), wakes)
	if err != nil {
		return nil, err
	}
	p := delivery.Of(topics.Topic{Kind: topics.Presence})
	return uplink.Word(l.presenceTopic(), p.ContentType, p.Default, payload), nil
}

// will is that of connection n. Its time is unknown (0): nobody knows when it will be needed.
func (l *Link) will(n uint64) (session.Will, error) {
	payload, err := l.presence(protocol.PresenceLost, n, time.UnixMilli(0), time.Time{})
	p := delivery.Of(topics.Topic{Kind: topics.Presence})
	return session.Will{Topic: l.presenceTopic(), ContentType: p.ContentType, Class: p.Default, Payload: payload, Delay: l.cfg.WillDelay}, err
}
