package broker

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol"
	"telltale.dev/protocol/delivery"
	"telltale.dev/protocol/principal"
	"telltale.dev/protocol/topics"
)

// upload is one publish between its arrival and its acknowledgement.
type upload struct {
	connection *connection
	id         uint16 // packet identifier; 0 for QoS 0
	size       int64
	presence   *presenceEvent // of a presence topic
	rule       *access.Rule   // that refuses it; nil: none
	called     atomic.Bool    // done was called

	finished bool // guarded by connection.mu
	code     byte // guarded by connection.mu
}

// upload authorises a publish on its resolved topic and hands it to the handler. After an error the connection has ended.
func (b *Broker) upload(c *connection, pk *packets.Packet) error {
	if c.kicked.Load() != 0 {
		return nil
	}
	p, presence, no := b.check(c, pk)
	switch no.code {
	case codeSuccess:
	case codeRetainNotSupported: // no PUBACK has this code
		c.why.Store(&fault{no.code, "only presence is retained"})
		return c.refuseReading(no.code)
	default:
		b.refuse(c, pk, no)
		return nil
	}
	c.arrivals++
	u := &upload{connection: c, id: pk.PacketID, size: int64(len(pk.Payload))}
	if presence != nil {
		u.presence = &presenceEvent{publish: p, presence: *presence, arrival: c.arrivals}
	}
	if !b.reserve(u.size) {
		b.refuse(c, pk, refusal{code: codeQuota})
		return nil
	}
	if !c.enqueue(u) {
		b.release(u.size)
		return nil
	}
	p.Received = time.Now() // enqueue may have waited
	b.counters.publishes.Add(1)
	b.counters.publishBytes.Add(uint64(u.size))
	b.cfg.Handler.Publish(p, u.done)
	return nil
}

// refusal is why a publish is not taken: the code of its PUBACK, and the rule when one says so.
type refusal struct {
	code byte
	rule *access.Rule // nil: none
}

// check turns a packet into a Publish, if the client may send it.
func (b *Broker) check(c *connection, pk *packets.Packet) (Publish, *protocol.Presence, refusal) {
	topic, err := c.parseTopic(pk.TopicName)
	if err != nil {
		return Publish{}, nil, refusal{code: codeTopicInvalid}
	}
	rule := b.cfg.Access(c.client.Principal, access.Publish, pk.TopicName)
	switch {
	case !rule.Allowed() && !b.taken(c.client, rule, topic):
		return Publish{}, nil, refusal{refusedCode(rule), rule}
	case pk.FixedHeader.Retain && !delivery.Of(topic).Retained:
		return Publish{}, nil, refusal{code: codeRetainNotSupported}
	}
	properties, ok := userProperties(pk.Properties.User)
	if !ok {
		return Publish{}, nil, refusal{code: codeQuota}
	}
	p := Publish{
		Client: c.client, Topic: topic, Retain: pk.FixedHeader.Retain, QoS: pk.FixedHeader.Qos, Payload: pk.Payload,
		ContentType: pk.Properties.ContentType, Properties: properties,
		Expiry: time.Duration(pk.Properties.MessageExpiryInterval) * time.Second,
	}
	p.setForwarded(&pk.Properties)
	if c.client.Kind != principal.Device {
		return p, nil, b.setReply(&p, pk.Properties.ResponseTopic)
	}
	if topic.Kind != topics.Presence {
		return p, nil, refusal{}
	}
	presence, err := parsePresence(c.client.Device, pk.Payload)
	if err != nil || presence.State == protocol.PresenceLost { // only a will says lost
		return Publish{}, nil, refusal{code: codePayloadFormat}
	}
	return p, &presence, refusal{}
}

// taken says whether a publish that a rule refuses because nobody would read it has a reader all the same.
func (b *Broker) taken(c Client, rule *access.Rule, topic topics.Topic) bool {
	return rule.Answer == access.Unread && b.cfg.Taken != nil && b.cfg.Taken(c.Principal, topic)
}

// setReply takes the response topic of a publish that asks for an answer, or gives the
// refusal of it, or of its correlation data.
func (b *Broker) setReply(p *Publish, topic string) refusal {
	p.Reply = topic
	if topic != "" {
		if rule := b.cfg.Access(p.Client.Principal, access.Reply, topic); !rule.Allowed() {
			return refusal{codeNotAuthorized, rule}
		}
	}
	switch {
	case tooDeep(topic):
		return refusal{code: codeNotAuthorized}
	case len(p.Correlation) > maxCorrelation:
		return refusal{code: codeQuota}
	}
	return refusal{}
}

// setForwarded takes the properties that subscribers get as they are [MQTT-3.3.2-4]
// [MQTT-3.3.2-15] to [MQTT-3.3.2-18] [MQTT-3.3.2-20].
func (p *Publish) setForwarded(from *packets.Properties) {
	p.Response, p.Correlation = from.ResponseTopic, from.CorrelationData
	if from.PayloadFormatFlag {
		format := from.PayloadFormat
		p.Format = &format
	}
	if len(from.User) == 0 {
		return
	}
	p.User = make([]Property, len(from.User))
	for i, u := range from.User {
		p.User[i] = Property{u.Key, u.Val}
	}
}

// parseTopic is topics.Parse for the connection's reader. It remembers the last one: most clients send many messages to the same.
func (c *connection) parseTopic(name string) (topics.Topic, error) {
	if name != "" && name == c.topicName {
		return c.topic, nil
	}
	if len(name) > maxAliased {
		return topics.Parse(name)
	}
	name = strings.Clone(name) // else it keeps the whole packet
	topic, err := topics.Parse(name)
	if err == nil {
		c.topic, c.topicName = topic, name
	}
	return topic, err
}

// userProperties makes a map of them; of a repeated key the first counts. False
// when there are too many.
func userProperties(user []packets.UserProperty) (map[string]string, bool) {
	if len(user) > maxUserProps {
		return nil, false
	}
	if len(user) == 0 {
		return nil, true
	}
	m := make(map[string]string, len(user))
	for _, p := range user {
		if _, ok := m[p.Key]; !ok {
			m[p.Key] = p.Val
		}
	}
	return m, true
}

// reserve takes a place among the publishes that the handler holds.
func (b *Broker) reserve(size int64) bool {
	n, bytes := b.inflight.Add(1), b.inflightBytes.Add(size)
	if n > int64(b.cfg.MaxInflight) || bytes > b.cfg.MaxInflightBytes {
		b.release(size)
		return false
	}
	return true
}

func (b *Broker) release(size int64) {
	b.inflight.Add(-1)
	b.inflightBytes.Add(-size)
}

// enqueue gives the upload its place in the order of acknowledgements. Beyond the
// receive maximum the reader waits. The standard has DISCONNECT 0x93 for it, but one of
// MQTT 3.1.1 cannot know the maximum, and clients of MQTT 5 that do not look at it (paho
// for Python) would come back and send the same again, for ever. Publishes of QoS 0 are
// dropped beyond the same number.
func (c *connection) enqueue(u *upload) bool {
	limit := c.broker.cfg.ReceiveMaximum
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.id == 0 {
		if c.uploads0 >= limit {
			c.broker.counters.droppedQoS0.Add(1)
			return false
		}
		c.uploads0++
		return true
	}
	for len(c.uploads) >= limit {
		if c.ended {
			return false
		}
		c.changed.Wait()
	}
	c.uploads = append(c.uploads, u)
	return true
}

// refuse acknowledges a publish with a code, in its turn. MQTT 3.1.1 knows no
// refusal, so its client is disconnected; a QoS 0 publish is dropped.
func (b *Broker) refuse(c *connection, pk *packets.Packet, no refusal) {
	b.counters.refused[no.code].Add(1)
	if pk.FixedHeader.Qos == 0 {
		return
	}
	u := &upload{connection: c, id: pk.PacketID, rule: no.rule}
	if c.enqueue(u) {
		c.answer(u, no.code)
	}
}

// done is what the handler calls.
func (u *upload) done(code byte) {
	if !u.called.CompareAndSwap(false, true) {
		return
	}
	c := u.connection
	b := c.broker
	b.release(u.size)
	if code >= refusedFrom {
		b.counters.refused[code].Add(1)
	} else if u.presence != nil {
		b.presence.post(c.key, *u.presence)
	}
	c.answer(u, code)
}

// answer is finish, later when the client sends too much. The timer holds nothing
// but the upload, and does no harm when the connection has ended meanwhile.
func (c *connection) answer(u *upload, code byte) {
	if code == codeQuota {
		time.AfterFunc(quotaDelay, func() { c.finish(u, code) })
		return
	}
	c.finish(u, code)
}

// finish notes the code of an upload and releases the acknowledgements whose turn has come.
func (c *connection) finish(u *upload, code byte) {
	c.mu.Lock()
	if u.id == 0 {
		c.uploads0--
		c.mu.Unlock()
		return
	}
	u.finished, u.code = true, code
	released, cut := c.releaseAcks()
	if released {
		c.changed.Broadcast()
	}
	c.mu.Unlock()
	if released {
		c.signal()
	}
	if cut != codeSuccess {
		c.kick(cut)
	}
}

// releaseAcks moves finished uploads from the head of the queue to the writer. MQTT
// 3.1.1 has no word for a refusal: there the first one stops the queue, and cut is
// its code. The caller holds mu.
func (c *connection) releaseAcks() (released bool, cut byte) {
	n := 0
	for n < len(c.uploads) && c.uploads[n].finished {
		head := c.uploads[n]
		if c.version < 5 && head.code >= refusedFrom {
			cut = head.code
			break
		}
		c.acks = append(c.acks, ack{head.id, head.code, head.rule})
		n++
	}
	left := copy(c.uploads, c.uploads[n:])
	clear(c.uploads[left:])
	if c.uploads = c.uploads[:left]; left == 0 && cap(c.uploads) > keptUploads {
		c.uploads = nil
	}
	return n > 0, cut
}
