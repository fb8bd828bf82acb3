package link_test

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/protocol/topics"
)

// publish is what the scripted server received, its topic resolved.
type publish struct {
	connection int // from 1
	topic      topics.Topic
	aliased    bool // came without a topic
	retain     bool
	payload    []byte
	properties *packets.Properties
	user       map[string]string
	size       int
	id         uint16
	qos        byte
	at         time.Time
}

// noAnswer makes the server keep silent about a publish.
const noAnswer = 0xff

// server is an MQTT 5 server that does what the test's script says. It reports
// each breach of what it allowed: aliases, receive maximum, packet size, QoS.
type server struct {
	t    *testing.T
	ln   net.Listener
	addr string

	narrow bool // the first connection's socket holds little
	loose  bool // QoS 0 may come
	// The script; set before start. Nil means success.
	connack func(connection int, c *packets.Connect, answer *packets.Connack)
	answer  func(p publish) byte // PUBACK code
	// subscribe says whether a SUBSCRIBE is answered; else the connection ends.
	subscribe func(c *serverConn) bool
	// subscribed is called after SUBACK.
	subscribed func(c *serverConn)

	mu       sync.Mutex
	got      []publish
	connects []*packets.Connect
	goodbyes []byte // codes of DISCONNECT
	conns    []*serverConn
	pubacks  []puback // for what the server sent
	filters  []string
	wg       sync.WaitGroup
}

// puback is an acknowledgement of the client.
type puback struct {
	id   uint16
	code byte
}

type serverConn struct {
	net.Conn
	s       *server
	number  int
	wmu     sync.Mutex
	aliases map[uint16]string

	mu        sync.Mutex
	unacked   int
	receive   int
	aliasMax  int
	packetMax int
}

// serve starts the server on TCP, or TLS when cfg is given.
func serve(t *testing.T, s *server, cfg *tls.Config) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.addr = t, ln.Addr().String()
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	s.ln = ln
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if tcp, ok := c.(*net.TCPConn); ok && s.narrow && s.connected() == 0 {
				tcp.SetReadBuffer(4 << 10)
			}
			s.wg.Go(func() { s.connection(c) })
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *server) close() {
	s.ln.Close()
	patience := time.AfterFunc(time.Second, s.cut) // who is still there then
	s.wg.Wait()
	patience.Stop()
}

// cut closes all connections without a word.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

func (s *server) received() []publish {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *server) connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connects)
}

func (s *server) connection(conn net.Conn) {
	defer conn.Close()
	first, err := packets.ReadPacket(conn)
	if err != nil || first.Type != packets.CONNECT {
		return
	}
	connect := first.Content.(*packets.Connect)
	s.mu.Lock()
	s.connects = append(s.connects, connect)
	c := &serverConn{Conn: conn, s: s, number: len(s.connects), aliases: map[uint16]string{}, receive: 65535}
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	ca := &packets.Connack{Properties: &packets.Properties{}}
	if s.connack != nil {
		s.connack(c.number, connect, ca)
	}
	c.adopt(ca.Properties)
	if ca.WriteTo(conn); ca.ReasonCode >= 0x80 {
		return
	}
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		c.handle(p)
	}
}

// adopt remembers what the server allowed.
func (c *serverConn) adopt(p *packets.Properties) {
	if p.ReceiveMaximum != nil {
		c.receive = int(*p.ReceiveMaximum)
	}
	if p.TopicAliasMaximum != nil {
		c.aliasMax = int(*p.TopicAliasMaximum)
	}
	if p.MaximumPacketSize != nil {
		c.packetMax = int(*p.MaximumPacketSize)
	}
}

func (c *serverConn) send(p packets.Packet) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	p.WriteTo(c.Conn)
}

func (c *serverConn) handle(p *packets.ControlPacket) {
	switch content := p.Content.(type) {
	case *packets.Publish:
		c.publish(content)
	case *packets.Pingreq:
		c.send(&packets.Pingresp{})
	case *packets.Subscribe:
		c.s.mu.Lock()
		for _, f := range content.Subscriptions {
			c.s.filters = append(c.s.filters, f.Topic)
		}
		c.s.mu.Unlock()
		if c.s.subscribe != nil && !c.s.subscribe(c) {
			c.Close()
			return
		}
		c.send(&packets.Suback{PacketID: content.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}})
		if c.s.subscribed != nil {
			c.s.subscribed(c)
		}
	case *packets.Puback:
		c.s.mu.Lock()
		c.s.pubacks = append(c.s.pubacks, puback{content.PacketID, content.ReasonCode})
		c.s.mu.Unlock()
	case *packets.Disconnect:
		c.s.mu.Lock()
		c.s.goodbyes = append(c.s.goodbyes, content.ReasonCode)
		c.s.mu.Unlock()
	}
}

func (c *serverConn) publish(p *packets.Publish) {
	t := c.s.t
	size, _ := p.WriteTo(discard{})
	aliased := p.Topic == ""
	c.mu.Lock()
	if a := p.Properties.TopicAlias; a != nil {
		if *a == 0 || int(*a) > c.aliasMax {
			t.Errorf("connection %d: alias %d, allowed up to %d", c.number, *a, c.aliasMax)
		}
		if aliased {
			p.Topic = c.aliases[*a]
		}
		c.aliases[*a] = p.Topic
	}
	if c.unacked += int(p.QoS); c.unacked > c.receive {
		t.Errorf("connection %d: %d publishes under way, allowed %d", c.number, c.unacked, c.receive)
	}
	c.mu.Unlock()
	if c.packetMax > 0 && int(size) > c.packetMax {
		t.Errorf("packet of %d bytes, allowed %d", size, c.packetMax)
	}
	if p.QoS != 1 && !(c.s.loose && p.QoS == 0) || p.Duplicate {
		t.Errorf("publish with QoS %d, duplicate %v; want 1, false", p.QoS, p.Duplicate)
	}
	topic, err := topics.Parse(p.Topic)
	if err != nil {
		t.Errorf("publish to topic %q: %v", p.Topic, err)
	}
	got := publish{
		connection: c.number, topic: topic, aliased: aliased, retain: p.Retain, payload: p.Payload,
		properties: p.Properties, user: map[string]string{}, size: int(size), id: p.PacketID, qos: p.QoS, at: time.Now(),
	}
	for _, u := range p.Properties.User {
		got.user[u.Key] = u.Value
	}
	c.s.mu.Lock()
	c.s.got = append(c.s.got, got)
	c.s.mu.Unlock()
	code := byte(0)
	if c.s.answer != nil {
		code = c.s.answer(got)
	}
	if code != noAnswer && p.QoS > 0 {
		c.ack(p.PacketID, code)
	}
}

func (c *serverConn) ack(id uint16, code byte) {
	c.mu.Lock()
	c.unacked--
	c.mu.Unlock()
	c.send(&packets.Puback{PacketID: id, ReasonCode: code, Properties: &packets.Properties{}})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// farewells are the reason codes of the DISCONNECTs so far.
func (s *server) farewells() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.goodbyes)
}
