package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	pahosession "github.com/eclipse/paho.golang/paho/session"

	"telltale.dev/protocol"
)

// Our cloud says in a user property of CONNACK what its PUBACK is worth.
const (
	guaranteeProperty = "guarantee"
	GuaranteeStored   = "stored" // acknowledged means on disk
)

// Errors of which Explain knows more.
var (
	// ErrNoAnswer is for who waits for answers: none came for too long.
	ErrNoAnswer = errors.New("publishes stay unacknowledged: the link is half-open or the server stands still")
	// ErrClosed: the connection ended, and nobody said why.
	ErrClosed = errors.New("connection closed")

	errNoQoS      = errors.New("the server allows no QoS 1")
	errNoRetain   = errors.New("the server allows no retained messages") // such as our will
	errNoWildcard = errors.New("the server allows no wildcards in subscriptions")
	errNoSuback   = errors.New("the server does not answer the subscription")
	errAuth       = errors.New("the server wants enhanced authentication, which we do not offer") // [MQTT-4.12.0-6]
)

// Limits that are no settings.
const (
	maxAliases  = 32                 // topic aliases of ours, when the server allows as many
	sendBuffer  = 64 << 10           // bytes in the kernel: what is there can be overtaken by nothing urgent
	maxInbound  = protocol.MaxPacket // bytes of a packet
	ticketsKept = 8                  // TLS session tickets, for all endpoints
)

// Config of a Dialer.
type Config struct {
	// TLS holds roots and the device's certificate; needed for endpoints over TLS. It is cloned.
	TLS    *tls.Config
	Device protocol.DeviceID // the MQTT client identifier
	// KeepAlive and SessionExpiry are told to the server, in whole seconds.
	KeepAlive, SessionExpiry time.Duration
	// Timeout bounds each of TCP connect, TLS handshake, CONNACK and SUBACK; zero means 10 s.
	Timeout time.Duration
	// WriteTimeout: a write that is stuck for so long ends the connection; zero means 30 s.
	WriteTimeout time.Duration
	// Grace is how long an introduction may still take after its context has ended, so that no will fires.
	Grace time.Duration
	// Window is how many publishes may be under way; a server may ask for fewer.
	Window int
	// ReceiveMaximum is how many messages the server may send before it has our acknowledgement.
	ReceiveMaximum uint16
	// Receive takes a message that came in. It is called by one goroutine, in the order of arrival, and holds up
	// the connection. answer gives the reason code of the PUBACK, for QoS 1, with a word for a person; it may be called later by
	// any goroutine, and must be called in the order of arrival [MQTT-4.6.0-2]. After the end of the connection it
	// does nothing. Nil: nothing is asked for, and what comes all the same is refused.
	Receive func(s *Session, p *packets.Publish, answer func(code byte, reason string))
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.Receive == nil {
		c.Receive = func(_ *Session, _ *packets.Publish, answer func(byte, string)) { answer(CodeTopicInvalid, "") }
	}
	return c
}

// Will is what the server publishes when the connection ends without a goodbye. It is retained, of QoS 1 and
// without expiry, so that it stands until the next birth.
type Will struct {
	Topic, ContentType string
	Class              protocol.Priority
	Payload            []byte
	Delay              time.Duration // in whole seconds
}

// Limits are what the server allows.
type Limits struct {
	Window    int    // receive maximum, at most ours
	MaxPacket int    // bytes; 0: any
	Aliases   uint16 // topics
	Retain    bool
}

// Dialer makes sessions, one after another.
type Dialer struct {
	cfg     Config
	tickets tls.ClientSessionCache
}

// NewDialer makes a Dialer.
func NewDialer(cfg Config) *Dialer {
	return &Dialer{cfg: cfg.withDefaults(), tickets: tls.NewLRUClientSessionCache(ticketsKept)}
}

// Session is one connection, from CONNACK on. Publish and Disconnect are called by one goroutine; the
// other methods by any.
type Session struct {
	Limits    Limits
	Guarantee string // what the server's PUBACK is worth: GuaranteeStored, or "" of a plain broker

	wire    *wire
	state   *pahoSession
	client  *paho.Client
	aliases aliases
	offer   *offer
}

// Connect dials, sends CONNECT and waits for CONNACK. When ctx ends meanwhile the exchange may
// still complete within Config.Grace. The error is one for Explain.
func (d *Dialer) Connect(ctx context.Context, e Endpoint, will Will) (*Session, error) {
	o := &offer{}
	w, err := d.dial(ctx, e, o)
	if err != nil {
		return nil, &failure{err, o}
	}
	s := &Session{wire: w, state: newSession(w, d.cfg.Window), offer: o}
	s.client = paho.NewClient(paho.ClientConfig{
		Conn: w, Session: s.state, PingHandler: newPinger(w), PacketTimeout: d.cfg.Timeout, AuthHandler: noAuth{w},
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			publish := p.Packet.Packet()
			id, qos := publish.PacketID, publish.QoS // the answer may wait for long, and must not keep the packet
			d.cfg.Receive(s, publish, func(code byte, reason string) {
				if qos > 0 {
					s.state.puback(id, code, reason)
				}
			})
			return true, nil
		}},
		OnServerDisconnect: func(*paho.Disconnect) {}, // the state has it
	})
	if err := s.introduce(ctx, d.connect(will), d.cfg); err != nil {
		return nil, &failure{err, o}
	}
	return s, nil
}

// introduce sends CONNECT and takes what the server allows.
func (s *Session) introduce(ctx context.Context, packet *paho.Connect, cfg Config) error {
	ctx, cancel := lasting(ctx, cfg.Grace)
	defer cancel()
	connack, err := s.client.Connect(ctx, packet)
	if err != nil {
		if why := s.wire.reason(); why != nil {
			err = why
		}
		if connack != nil && connack.ReasonCode >= CodeUnspecified {
			p := connack.Properties
			err = &codeError{packet: "connack", code: connack.ReasonCode, text: p.ReasonString, other: p.ServerReference}
		}
		return &phaseError{phase: "mqtt connect", err: err}
	}
	p := connack.Properties
	receive := uint16(math.MaxUint16)
	if p.ReceiveMaximum != nil {
		receive = *p.ReceiveMaximum
	}
	s.Limits = Limits{Window: min(cfg.Window, int(receive)), Retain: p.RetainAvailable}
	if p.MaximumPacketSize != nil {
		s.Limits.MaxPacket = int(*p.MaximumPacketSize)
	}
	if p.TopicAliasMaximum != nil {
		s.Limits.Aliases = *p.TopicAliasMaximum
	}
	s.Guarantee, s.aliases = p.User.Get(guaranteeProperty), newAliases(s.Limits.Aliases)
	switch {
	case p.AuthMethod != "":
		err = errAuth
	case p.MaximumQoS != nil && *p.MaximumQoS < 1 || receive == 0:
		err = errNoQoS
	}
	if err != nil {
		s.Disconnect(true)
		return &phaseError{phase: "mqtt connect", err: err}
	}
	return nil
}

// connect is the CONNECT packet.
func (d *Dialer) connect(will Will) *paho.Connect {
	return &paho.Connect{
		ClientID:   string(d.cfg.Device),
		KeepAlive:  uint16(d.cfg.KeepAlive / time.Second),
		CleanStart: false,
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: Seconds(d.cfg.SessionExpiry),
			ReceiveMaximum:        paho.Uint16(d.cfg.ReceiveMaximum),
			MaximumPacketSize:     paho.Uint32(maxInbound),
			RequestProblemInfo:    true,
		},
		WillMessage: &paho.WillMessage{Topic: will.Topic, QoS: 1, Retain: true, Payload: will.Payload},
		WillProperties: &paho.WillProperties{
			WillDelayInterval: Seconds(will.Delay),
			ContentType:       will.ContentType,
			User:              paho.UserProperties{{Key: protocol.PropPriority, Value: will.Class.String()}},
		},
	}
}

// Seconds is d for the wire, rounded up.
func Seconds(d time.Duration) *uint32 {
	return paho.Uint32(uint32((d + time.Second - 1) / time.Second))
}

// Publish writes one publish. Of QoS 1 the server's word comes from Answers, with token; the caller keeps to
// Limits.Window. With alias its topic gets a topic alias, when there is one. An error means that the connection is gone.
func (s *Session) Publish(token any, p *paho.Publish, alias bool) error {
	if alias {
		if number, known := s.aliases.of(p.Topic); number != 0 {
			p.Properties.TopicAlias = &number
			if known {
				p.Topic = ""
			}
		}
	}
	s.state.sending(token)
	_, err := s.client.PublishWithOptions(context.Background(), p, paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	return err
}

// Answers receives the server's word on each publish of QoS 1. The channel is never closed; see Lost.
func (s *Session) Answers() <-chan Answer { return s.state.acks }

// UnderWay gives the tokens of publishes without an answer.
func (s *Session) UnderWay() []any { return s.state.underWay() }

// Subscription is the server's answer to Subscribe.
type Subscription struct {
	Answered bool         // false when the connection ended before
	Refused  map[int]byte // the codes of what the server refuses, by place in the filters
}

// Subscribe asks for topics at QoS 1. A server that does not answer loses the connection. It ends with the connection, which
// is no error of its own. Errors do not name the filters.
func (s *Session) Subscribe(ctx context.Context, filters []string) (answer Subscription, err error) {
	var wanted paho.Subscribe
	for _, filter := range filters {
		wanted.Subscriptions = append(wanted.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1})
	}
	suback, err := s.client.Subscribe(ctx, &wanted)
	switch {
	case err == nil:
		answer.Answered = true
	case errors.Is(err, paho.ErrConnectionLost), errors.Is(err, pahosession.ErrNoConnection):
	case suback != nil && len(suback.Reasons) > 0:
		answer = Subscription{Answered: true, Refused: map[int]byte{}}
		for i, code := range suback.Reasons {
			if code >= CodeUnspecified && i < len(filters) {
				answer.Refused[i] = code
			}
		}
	case errors.Is(err, context.DeadlineExceeded):
		s.wire.fail(errNoSuback)
	case errors.Is(err, paho.ErrInvalidArguments): // its text has the filter
		return answer, errNoWildcard
	default:
		return answer, err
	}
	return answer, nil
}

// Lost is closed when the connection has ended.
func (s *Session) Lost() <-chan struct{} { return s.wire.closed }

// Fail ends the connection at once, for a reason that Close gives then.
func (s *Session) Fail(err error) { s.wire.fail(err) }

// Hurry lets no write, not even one that is under way, take longer than until then.
func (s *Session) Hurry(until time.Time) { s.wire.hurry(until) }

// withWill is the reason code of a DISCONNECT that lets the will be published [MQTT-3.14.2.1].
const withWill = 0x04

// Disconnect says goodbye; with will, the server publishes the will nevertheless.
func (s *Session) Disconnect(will bool) {
	code := byte(packets.DisconnectNormalDisconnection)
	if will {
		code = withWill
	}
	_ = s.client.Disconnect(&paho.Disconnect{ReasonCode: code})
}

// Close ends the connection, waits until all about it has stopped, and says why it ended: the
// server's word before our own view. The last answers are in Answers then.
func (s *Session) Close() error {
	_ = s.wire.Close()
	<-s.client.Done()
	err := s.wire.reason()
	if p := s.state.farewell(); p != nil {
		code := &codeError{packet: "disconnect", code: p.ReasonCode}
		if p.Properties != nil {
			code.text, code.other = p.Properties.ReasonString, p.Properties.ServerReference
		}
		err = code
	}
	if err == nil {
		err = ErrClosed
	}
	return &failure{&phaseError{phase: "connected", err: err}, s.offer}
}

// otherCauses are codes of DISCONNECT (MQTT 5, 3.14.2.1) that have nothing to do with what was under way.
var otherCauses = []byte{
	0x88, // server unavailable
	0x89, // server busy
	0x8B, // server shutting down
	0x8D, // keep alive timeout
	0x8E, // session taken over
	0x98, // administrative action
	0x9C, // use another server
	0x9D, // server moved
	0x9F, // connection rate exceeded
}

// EndedByServer says, after Close, whether the other side ended the connection over what was under way, as far as can be
// known: not when it names another cause, nor after silence or by our own wish.
func (s *Session) EndedByServer() bool {
	if p := s.state.farewell(); p != nil {
		return !slices.Contains(otherCauses, p.ReasonCode)
	}
	err := s.wire.reason()
	return err != nil &&
		(errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// Bytes are those of MQTT so far, without TLS and TCP.
func (s *Session) Bytes() (sent, received uint64) {
	return s.wire.sent.Load(), s.wire.received.Load()
}
