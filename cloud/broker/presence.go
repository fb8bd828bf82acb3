package broker

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

const presenceVersion = 1

// will is the last will of a device, checked at CONNECT.
type will struct {
	publish  Publish // without Received
	presence protocol.Presence
	delay    time.Duration
}

// newWill checks the will of a CONNECT, nil when there is none. The only will there
// is says that a device is lost, on its own presence topic, with QoS 1 and retained.
func newWill(client Client, pk packets.Packet) (*will, byte) {
	if !pk.Connect.WillFlag {
		return nil, codeSuccess
	}
	topic, err := protocol.ParseTopic(pk.Connect.WillTopic)
	own := err == nil && client.Device != "" &&
		topic == protocol.Topic{Kind: protocol.KindPresence, Vehicle: client.Vehicle, Device: client.Device}
	if !own || pk.Connect.WillQos != 1 || !pk.Connect.WillRetain {
		return nil, codeNotAuthorized
	}
	presence, err := parsePresence(client, pk.Connect.WillPayload)
	if err != nil || presence.State != protocol.PresenceLost {
		return nil, codePayloadFormat
	}
	p := &pk.Connect.WillProperties
	properties, ok := userProperties(p.User)
	if !ok {
		return nil, codeQuota
	}
	if p.ContentType == "" { // paho.golang v0.23 leaves it out of wills
		p.ContentType = protocol.ContentPresence
	}
	return &will{
		presence: presence,
		delay:    time.Duration(p.WillDelayInterval) * time.Second,
		publish: Publish{
			Topic: topic, Retain: true, Payload: pk.Connect.WillPayload, ContentType: p.ContentType,
			Properties: properties, Expiry: time.Duration(p.MessageExpiryInterval) * time.Second,
		},
	}, codeSuccess
}

// parsePresence reads a presence of the client's own device.
func parsePresence(client Client, payload []byte) (protocol.Presence, error) {
	var p protocol.Presence
	if err := codec.Unmarshal(payload, &p); err != nil {
		return protocol.Presence{}, fmt.Errorf("presence: %w", err)
	}
	switch {
	case p.Version != presenceVersion:
		return protocol.Presence{}, fmt.Errorf("presence: version %d, expected %d", p.Version, presenceVersion)
	case p.Device != client.Device:
		return protocol.Presence{}, fmt.Errorf("presence: names another device than the certificate")
	}
	switch p.State {
	case protocol.PresenceOnline, protocol.PresenceAsleep, protocol.PresenceOffline, protocol.PresenceLost:
		return p, nil
	}
	return protocol.Presence{}, fmt.Errorf("presence: state is none of online, asleep, offline, lost")
}

// presenceEvent is a presence that has happened; it counts if its connection is
// still the newest of the device when its turn comes.
type presenceEvent struct {
	client   Client
	presence protocol.Presence
	arrival  uint64 // order within the connection; see willArrival
	will     *will  // not published yet; nil for what the device published itself
}

// willArrival puts the will after everything else of its connection: a birth that
// is stored only after the will has come no longer counts.
const willArrival = math.MaxUint64

// presenceBook calls Handler.Presence in order for each device, and only for
// connections that no newer one has followed.
type presenceBook struct {
	handler Handler
	running sync.WaitGroup // one for each lane at work

	mu    sync.Mutex // guards what follows
	lanes map[string]*presenceLane
}

// presenceLane is the order of events of one device.
type presenceLane struct {
	newest  uint64 // number of the newest connection
	arrived uint64 // highest arrival among its events so far
	waiting []presenceEvent
	atWork  bool
	over    bool // the session is gone: forget the lane when it is empty
}

func (b *presenceBook) init(h Handler) {
	b.handler = h
	b.lanes = make(map[string]*presenceLane)
}

// connect notes a new connection of the device: what older ones left no longer counts.
func (b *presenceBook) connect(key string, connection uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lane := b.lanes[key]
	if lane == nil {
		lane = &presenceLane{}
		b.lanes[key] = lane
	}
	lane.over = false
	if connection > lane.newest {
		lane.newest, lane.arrived = connection, 0
	}
}

// forget drops the lane of a device whose session is gone, unless a connection
// newer than the given one is there.
func (b *presenceBook) forget(key string, connection uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lane := b.lanes[key]
	if lane == nil || lane.newest > connection {
		return
	}
	lane.over = true
	if !lane.atWork && len(lane.waiting) == 0 {
		delete(b.lanes, key)
	}
}

// post queues an event; at most as many wait as the device has publishes in flight, and its will.
func (b *presenceBook) post(key string, e presenceEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lane := b.lanes[key]
	if lane == nil || lane.newest != e.client.Connection || e.arrival < lane.arrived {
		return
	}
	lane.arrived = e.arrival
	lane.waiting = append(lane.waiting, e)
	if !lane.atWork {
		lane.atWork = true
		b.running.Go(func() { b.work(key, lane) })
	}
}

// work empties a lane.
func (b *presenceBook) work(key string, lane *presenceLane) {
	for {
		b.mu.Lock()
		if len(lane.waiting) == 0 {
			lane.atWork, lane.waiting = false, nil
			if lane.over {
				delete(b.lanes, key)
			}
			b.mu.Unlock()
			return
		}
		e := lane.waiting[0]
		lane.waiting = lane.waiting[1:]
		counts := lane.newest == e.client.Connection
		b.mu.Unlock()
		if counts {
			b.tell(e)
		}
	}
}

// tell hands one event to the handler; a will is stored first.
func (b *presenceBook) tell(e presenceEvent) {
	if e.will != nil {
		stored := make(chan struct{})
		var once sync.Once
		publish := e.will.publish
		publish.Client, publish.Received = e.client, time.Now()
		b.handler.Publish(publish, func(byte) { once.Do(func() { close(stored) }) })
		<-stored
	}
	b.handler.Presence(e.client, e.presence)
}

// wait returns when all lanes are empty. Nothing is posted any more.
func (b *presenceBook) wait() { b.running.Wait() }
