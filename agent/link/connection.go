package link

import (
	"context"
	"errors"
	"io"
	"math"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/protocol"
)

// Our cloud says in a user property of CONNACK what its PUBACK is worth.
const (
	guaranteeProperty = "guarantee"
	guaranteeStored   = "stored" // acknowledged means on disk
)

var (
	errNoQoS    = errors.New("the server allows no QoS 1")
	errNoRetain = errors.New("the server allows no retained messages") // such as our will
	errNoSuback = errors.New("the server does not answer the subscription")
	errClosed   = errors.New("connection closed")
)

// connection is one MQTT connection, from CONNACK on.
type connection struct {
	l         *Link
	endpoint  endpoint
	wire      *wire
	session   *pahoSession
	client    *paho.Client
	sender    *sender
	limits    limits
	guarantee string
}

// open sends CONNECT with a will of its own and waits for CONNACK. When ctx ends
// meanwhile the exchange may still complete within DrainTime, so that the will does not fire.
func (l *Link) open(ctx context.Context, e endpoint, w *wire) (*connection, error) {
	c := &connection{l: l, endpoint: e, wire: w, session: newSession(w, l.cfg.Window)}
	packet, err := l.connectPacket(l.number)
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	c.client = paho.NewClient(paho.ClientConfig{
		Conn: w, Session: c.session, PingHandler: newPinger(w), PacketTimeout: l.cfg.Timeout,
		OnPublishReceived:  []func(paho.PublishReceived) (bool, error){c.received},
		OnServerDisconnect: func(*paho.Disconnect) {}, // the session has it
	})
	ctx, cancel := lasting(ctx, l.cfg.DrainTime)
	defer cancel()
	connack, err := c.client.Connect(ctx, packet)
	if err != nil {
		if why := w.reason(); why != nil {
			err = why
		}
		if connack != nil && connack.ReasonCode >= codeUnspecified {
			p := connack.Properties
			err = &codeError{packet: "connack", code: connack.ReasonCode, text: p.ReasonString, other: p.ServerReference}
		}
		return nil, &phaseError{phase: "mqtt connect", err: err}
	}
	return c, c.accepted(connack.Properties)
}

// accepted takes what the server allows.
func (c *connection) accepted(p *paho.ConnackProperties) error {
	receive := uint16(math.MaxUint16)
	if p.ReceiveMaximum != nil {
		receive = *p.ReceiveMaximum
	}
	c.limits = limits{window: min(c.l.cfg.Window, int(receive)), retain: p.RetainAvailable}
	if p.MaximumPacketSize != nil {
		c.limits.maxPacket = int(*p.MaximumPacketSize)
	}
	if p.TopicAliasMaximum != nil {
		c.limits.aliases = *p.TopicAliasMaximum
	}
	c.guarantee = p.User.Get(guaranteeProperty)
	if p.MaximumQoS != nil && *p.MaximumQoS < 1 || receive == 0 {
		_ = c.client.Disconnect(&paho.Disconnect{ReasonCode: withWill})
		return &phaseError{phase: "mqtt connect", err: errNoQoS}
	}
	c.sender = newSender(c.l, c.limits, c.l.schemas[c.endpoint.address], c.transmit)
	return nil
}

// serve sends and receives until the connection is lost (an error) or ctx ends (nil).
func (c *connection) serve(ctx context.Context) error {
	birth, err := c.l.presenceItem(protocol.PresenceOnline, c.l.number, time.Time{})
	if err != nil {
		c.wire.fail(err)
		return c.end()
	}
	c.sender.first = append(c.sender.first, birth)
	if err := c.sender.fill(time.Now()); err != nil { // the birth leaves first
		c.wire.fail(err)
		return c.end()
	}
	stop := context.AfterFunc(ctx, func() { c.wire.hurry(time.Now().Add(c.l.cfg.DrainTime + writerGrace)) })
	defer stop()
	subscribed := make(chan struct{})
	go func() {
		defer close(subscribed)
		c.subscribe(context.WithoutCancel(ctx)) // ends with the connection
	}()
	defer func() { <-subscribed }()

	if err := c.loop(ctx); err != nil {
		c.wire.fail(err)
		return c.end()
	}
	c.farewell()
	_ = c.end()
	return nil
}

// loop is the connection's life. It returns nil when ctx ended.
func (c *connection) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if err := c.sender.overdue(now); err != nil {
			return err
		}
		if err := c.sender.fill(now); err != nil {
			return err
		}
		timer.Stop()
		if at := c.sender.wakeAt(now); !at.IsZero() {
			timer.Reset(at.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wire.closed:
			return errClosed
		case a := <-c.session.acks:
			c.sender.answered(a, time.Now())
			c.collect()
		case <-c.l.cfg.Buffer.Appended():
			c.sender.order.wake()
		case <-c.l.allowed:
		case <-timer.C:
		}
	}
}

// collect takes the answers that have arrived.
func (c *connection) collect() {
	for {
		select {
		case a := <-c.session.acks:
			c.sender.answered(a, time.Now())
		default:
			return
		}
	}
}

// end waits until paho has stopped, takes the last answers, and says why the
// connection ended: the server's word before our own view.
func (c *connection) end() error {
	_ = c.wire.Close()
	<-c.client.Done()
	c.collect()
	if c.endedByOther() {
		c.l.strike(c.session.underWay())
	}
	if p := c.session.farewell(); p != nil {
		e := &codeError{packet: "disconnect", code: p.ReasonCode}
		if p.Properties != nil {
			e.text, e.other = p.Properties.ReasonString, p.Properties.ServerReference
		}
		return &phaseError{phase: "connected", err: e}
	}
	if err := c.wire.reason(); err != nil {
		return &phaseError{phase: "connected", err: err}
	}
	return &phaseError{phase: "connected", err: errClosed}
}

// endedByOther says whether the other side ended the connection, rather than silence or our own wish.
func (c *connection) endedByOther() bool {
	err := c.wire.reason()
	return c.session.farewell() != nil || err != nil &&
		(errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// withWill is the reason code of a DISCONNECT that lets the will be published [MQTT-3.14.2.1].
const withWill = 0x04

// farewell waits for publishes under way, says that the device goes, and
// disconnects. The will is only called off when the server has accepted the last
// word; else it says that the device is lost, because a stale "online" would be a lie.
func (c *connection) farewell() {
	state, wakes, drain, farewell := c.l.lastWord()
	c.wait(drain, func() bool { return c.sender.inflight == 0 })
	last, err := c.l.presenceItem(state, c.l.number, wakes)
	reason := byte(withWill)
	if err == nil && c.sender.inflight < c.limits.window {
		if c.sender.send(last, time.Now()) == nil {
			c.wait(farewell, func() bool { return last.replied || last.sent.IsZero() })
		}
		if last.replied && judge(last.answer) == stored {
			reason = packets.DisconnectNormalDisconnection
		}
	}
	_ = c.client.Disconnect(&paho.Disconnect{ReasonCode: reason})
}

// wait takes answers until done, at most for d, and not longer than the connection lives.
func (c *connection) wait(d time.Duration, done func() bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !done() {
		select {
		case a := <-c.session.acks:
			c.sender.answered(a, time.Now())
		case <-c.wire.closed:
			return
		case <-timer.C:
			return
		}
	}
}

// transmit writes one publish.
func (c *connection) transmit(it *item, p *paho.Publish) error {
	c.session.sending(it)
	_, err := c.client.PublishWithOptions(context.Background(), p, paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	return err
}

// subscribe asks for what the routes take.
func (c *connection) subscribe(ctx context.Context) {
	filters := c.l.down.Filters()
	if len(filters) == 0 {
		return
	}
	var wanted paho.Subscribe
	for _, filter := range filters {
		wanted.Subscriptions = append(wanted.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1})
	}
	suback, err := c.client.Subscribe(ctx, &wanted)
	switch {
	case err == nil:
	case suback != nil && len(suback.Reasons) > 0:
		for i, code := range suback.Reasons {
			if code >= codeUnspecified && i < len(filters) {
				c.l.cfg.Log.Warn("server refuses a subscription", "number", i, "code", codeText(code))
			}
		}
	case errors.Is(err, context.DeadlineExceeded):
		c.wire.fail(errNoSuback)
	}
}
