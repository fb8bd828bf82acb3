package link

import (
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
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
func (l *Link) presenceItem(state protocol.PresenceState, n uint64, wakes time.Time) (*item, error) {
	payload, err := l.presence(state, n, time.Now(), wakes)
	if err != nil {
		return nil, err
	}
	return &item{
		kind: presenceKind, topic: l.presenceTopic(), contentType: protocol.ContentPresence,
		priority: protocol.CS2, qos: 1, payload: payload,
	}, nil
}

// connectPacket is the CONNECT of connection n, with the will that belongs to it. The
// will has no expiry and is retained, so that it stands until the next birth. Its
// time is unknown (0): nobody knows when it will be needed.
func (l *Link) connectPacket(n uint64) (*paho.Connect, error) {
	will, err := l.presence(protocol.PresenceLost, n, time.UnixMilli(0), time.Time{})
	if err != nil {
		return nil, err
	}
	return &paho.Connect{
		ClientID:   string(l.cfg.Device),
		KeepAlive:  uint16(l.cfg.KeepAlive / time.Second),
		CleanStart: false,
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: seconds(l.cfg.SessionExpiry),
			ReceiveMaximum:        paho.Uint16(downlink.ReceiveMaximum),
			MaximumPacketSize:     paho.Uint32(maxInbound),
			RequestProblemInfo:    true,
		},
		WillMessage: &paho.WillMessage{Topic: l.presenceTopic(), QoS: 1, Retain: true, Payload: will},
		WillProperties: &paho.WillProperties{
			WillDelayInterval: seconds(l.cfg.WillDelay),
			ContentType:       protocol.ContentPresence,
			User:              paho.UserProperties{{Key: protocol.PropPriority, Value: protocol.CS2.String()}},
		},
	}, nil
}

// seconds is d for the wire, rounded up.
func seconds(d time.Duration) *uint32 {
	return paho.Uint32(uint32((d + time.Second - 1) / time.Second))
}
