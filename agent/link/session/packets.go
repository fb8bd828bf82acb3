package session

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paholog "github.com/eclipse/paho.golang/paho/log"
	pahosession "github.com/eclipse/paho.golang/paho/session"
)

// Errors about a server that breaks the rules.
var (
	errReceiveMaximum = errors.New("the server sent more messages at once than we allow")
	errDeliveryQoS    = errors.New("the server delivered with a quality of service or packet id that is not allowed")
)

// Answer is the server's word on a publish.
type Answer struct {
	Token  any // that Publish was called with
	Code   byte
	Reason string // of the server, for a person; not fit for a log as it is: see Printable
}

// pahoSession is what paho calls the session state, for one connection only. It
// ties packet identifiers to tokens and hands their acknowledgements over. It
// keeps nothing beyond the connection: publishes under way are forgotten, and
// the buffer gives them again. (Receivers of QoS 1 keep no state either, so new
// identifiers in an old session are fine [MQTT-4.3.2].)
//
// paho's own state would store each packet a second time, resend it on its own
// account with aliases that mean nothing any more, and block instead of telling
// that the window is full.
type pahoSession struct {
	wire *wire
	acks chan Answer // holds a full window, so that the reader never waits

	mu      sync.Mutex // guards what follows
	next    any        // token, whose publish is being added; set by the one writer
	pending map[uint16]any
	replies map[uint16]chan<- packets.ControlPacket // of SUBSCRIBE
	last    uint16
	ended   bool
	goodbye *packets.Disconnect // the server's last word, or nil
}

var _ pahosession.SessionManager = (*pahoSession)(nil)

func newSession(w *wire, window int) *pahoSession {
	return &pahoSession{
		wire: w, acks: make(chan Answer, window+1),
		pending: map[uint16]any{}, replies: map[uint16]chan<- packets.ControlPacket{},
	}
}

// sending says whose publish comes next. The writer calls it before each publish.
func (s *pahoSession) sending(token any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = token
}

// AddToSession gives the packet an identifier. It never blocks: the sender keeps to the window.
func (s *pahoSession) AddToSession(_ context.Context, p pahosession.Packet, reply chan<- packets.ControlPacket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return pahosession.ErrNoConnection
	}
	for s.last++; s.last == 0 || s.taken(s.last); s.last++ { // ends: there are far more identifiers than maxWindow
	}
	p.SetIdentifier(s.last)
	if p.Type() == packets.PUBLISH {
		s.pending[s.last] = s.next
		return nil
	}
	s.replies[s.last] = reply
	return nil
}

func (s *pahoSession) taken(id uint16) bool {
	_, pending := s.pending[id]
	return pending || s.replies[id] != nil
}

// PacketReceived takes what paho's reader received. Errors end the connection.
func (s *pahoSession) PacketReceived(p *packets.ControlPacket, documents chan<- *packets.Publish) error {
	switch content := p.Content.(type) {
	case *packets.Puback:
		s.acknowledged(content)
	case *packets.Suback:
		s.mu.Lock()
		reply := s.replies[content.PacketID]
		delete(s.replies, content.PacketID)
		s.mu.Unlock()
		if reply != nil {
			reply <- *p // has room for one
		}
	case *packets.Publish:
		if content.QoS > 1 || content.PacketID == 0 {
			s.wire.fail(errDeliveryQoS)
			return errDeliveryQoS
		}
		select {
		case documents <- content:
		default:
			s.wire.fail(errReceiveMaximum)
			return errReceiveMaximum
		}
	}
	return nil // anything else answers what we never send
}

// acknowledged hands the answer over. An identifier that is not under way is ignored.
func (s *pahoSession) acknowledged(p *packets.Puback) {
	s.mu.Lock()
	token, ok := s.pending[p.PacketID]
	delete(s.pending, p.PacketID)
	s.mu.Unlock()
	if !ok {
		return
	}
	a := Answer{Token: token, Code: p.ReasonCode}
	if p.Properties != nil {
		a.Reason = p.Properties.ReasonString
	}
	s.acks <- a
}

// underWay gives the tokens without an answer.
func (s *pahoSession) underWay() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.pending))
}

// puback tells the server what became of a message, and why. On an old connection it does nothing.
func (s *pahoSession) puback(id uint16, code byte, reason string) {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended {
		return
	}
	_, _ = (&packets.Puback{Properties: &packets.Properties{ReasonString: reason}, PacketID: id, ReasonCode: code}).WriteTo(s.wire)
}

// Ack does nothing: paho calls it when the document is queued, and puback answers when it is on disk.
func (s *pahoSession) Ack(*packets.Publish) error { return nil }

// ConAckReceived implements session.SessionManager; there is nothing to send again.
func (s *pahoSession) ConAckReceived(io.Writer, *packets.Connect, *packets.Connack) error { return nil }

// ConnectionLost keeps the server's reason, if it gave one, and releases who waits.
func (s *pahoSession) ConnectionLost(p *packets.Disconnect) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil && s.goodbye == nil {
		s.goodbye = p
	}
	s.ended = true
	for id, reply := range s.replies {
		delete(s.replies, id)
		reply <- packets.ControlPacket{}
	}
	return nil
}

// farewell is what the server said last, or nil.
func (s *pahoSession) farewell() *packets.Disconnect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.goodbye
}

// Close implements session.SessionManager.
func (s *pahoSession) Close() error { return s.ConnectionLost(nil) }

// noAuth ends a connection whose server wants enhanced authentication, which CONNECT did not offer [MQTT-4.12.0-6].
// paho calls its handler for such a server without asking whether there is one.
type noAuth struct{ wire *wire }

var _ paho.Auther = noAuth{}

// Authenticate implements paho.Auther. What it gives is not sent any more; it must not be nil.
func (a noAuth) Authenticate(*paho.Auth) *paho.Auth {
	a.wire.fail(errAuth)
	return &paho.Auth{}
}

// Authenticated implements paho.Auther. A CONNACK that says so is refused by introduce.
func (noAuth) Authenticated() {}

// SetErrorLogger implements session.SessionManager; there is nothing to log.
func (s *pahoSession) SetErrorLogger(paholog.Logger) {}

// SetDebugLogger implements session.SessionManager; there is nothing to log.
func (s *pahoSession) SetDebugLogger(paholog.Logger) {}
