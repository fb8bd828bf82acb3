package session_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"telltale.dev/agent/link/session"
	"telltale.dev/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers one connection as the test's script says.
type server struct {
	addr    string
	connack packets.Connack
	auth    bool // CONNECT is answered with an AUTH in place of connack
	// each is called for each packet after CONNECT, with the connection to answer on.
	each func(net.Conn, *packets.ControlPacket)

	mu      sync.Mutex // guards what follows
	connect *packets.Connect
	got     []*packets.ControlPacket
}

// serve starts the server until the test's end.
func serve(t *testing.T, s *server) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var wait sync.WaitGroup
	wait.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		first, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.connect, _ = first.Content.(*packets.Connect)
		s.mu.Unlock()
		if s.connack.Properties == nil {
			s.connack.Properties = &packets.Properties{}
		}
		if s.auth {
			_, _ = (&packets.Auth{ReasonCode: packets.AuthContinueAuthentication, Properties: &packets.Properties{AuthMethod: "x"}}).WriteTo(conn)
		} else {
			_, _ = s.connack.WriteTo(conn)
		}
		for {
			p, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, p)
			s.mu.Unlock()
			if s.each != nil {
				s.each(conn, p)
			}
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wait.Wait() })
	return s
}

// all gives the packets of one type so far.
func (s *server) all(kind byte) (list []*packets.ControlPacket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.got {
		if p.Type == kind {
			list = append(list, p)
		}
	}
	return list
}

var will = session.Will{Topic: "v1/anna/up/presence/tcu", ContentType: "application/x", Class: protocol.CS2, Payload: []byte("lost"), Delay: 3 * time.Second}

// dial connects with quick settings; the session is closed at the test's end.
func dial(t *testing.T, s *server, change func(*session.Config)) (*session.Session, error) {
	t.Helper()
	cfg := session.Config{
		Device: "tcu", KeepAlive: 5 * time.Second, SessionExpiry: time.Minute, Timeout: time.Second, WriteTimeout: time.Second, Window: 4, ReceiveMaximum: 2,
	}
	if change != nil {
		change(&cfg)
	}
	e, err := session.ParseEndpoint("mqtt://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := session.NewDialer(cfg).Connect(t.Context(), e, will)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// acknowledge answers publishes with a code, and gives a reason with refusals.
func acknowledge(code byte) func(net.Conn, *packets.ControlPacket) {
	return func(conn net.Conn, p *packets.ControlPacket) {
		if publish, ok := p.Content.(*packets.Publish); ok && publish.QoS > 0 {
			properties := &packets.Properties{}
			if code >= 0x80 {
				properties.ReasonString = "no"
			}
			_, _ = (&packets.Puback{PacketID: publish.PacketID, ReasonCode: code, Properties: properties}).WriteTo(conn)
		}
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting: %s", what)
		}
	}
}

// TestIntroduction: the server learns the will and our limits, and we learn its limits.
func TestIntroduction(t *testing.T) {
	s := serve(t, &server{connack: packets.Connack{Properties: &packets.Properties{
		ReceiveMaximum: paho.Uint16(3), MaximumPacketSize: paho.Uint32(9000), TopicAliasMaximum: paho.Uint16(7),
		User: []packets.User{{Key: "guarantee", Value: "stored"}},
	}}})
	c, err := dial(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (session.Limits{Window: 3, MaxPacket: 9000, Aliases: 7, Retain: true}); c.Limits != want || c.Guarantee != session.GuaranteeStored {
		t.Errorf("got %+v and guarantee %q, want %+v", c.Limits, c.Guarantee, want)
	}
	s.mu.Lock()
	p := s.connect
	s.mu.Unlock()
	if p.ClientID != "tcu" || p.CleanStart || p.KeepAlive != 5 || *p.Properties.SessionExpiryInterval != 60 || *p.Properties.ReceiveMaximum != 2 ||
		p.WillTopic != will.Topic || string(p.WillMessage) != "lost" || !p.WillRetain || p.WillQOS != 1 || *p.WillProperties.WillDelayInterval != 3 ||
		!slices.Equal(p.WillProperties.User, []packets.User{{Key: "pr", Value: "CS2"}}) {
		t.Errorf("got %+v", p)
	}
}

// TestRefusedIntroduction: each way to be refused is an error that Explain puts into words.
func TestRefusedIntroduction(t *testing.T) {
	for _, c := range []struct {
		connack packets.Connack
		want    string
	}{
		{packets.Connack{ReasonCode: 0x87}, "server refuses: not authorised"},
		{packets.Connack{Properties: &packets.Properties{MaximumQOS: new(byte)}}, "the server allows no QoS 1"},
	} {
		_, err := dial(t, serve(t, &server{connack: c.connack}), nil)
		if text, _ := session.Explain(err, time.Now()); text != c.want {
			t.Errorf("got %q (%v), want %q", text, err, c.want)
		}
	}
	for name, s := range map[string]*server{
		"in CONNACK": {connack: packets.Connack{Properties: &packets.Properties{AuthMethod: "x"}}},
		"by AUTH":    {auth: true},
	} {
		_, err := dial(t, serve(t, s), nil)
		if text, _ := session.Explain(err, time.Now()); text != "server breaks the protocol" || !strings.Contains(err.Error(), "enhanced authentication") {
			t.Errorf("authentication that was not offered, %s: got %q (%v)", name, text, err)
		}
	}
	if text, _ := session.Explain(errors.New("anything"), time.Now()); text != "connection failed" {
		t.Errorf("another error: got %q", text)
	}
}

// TestPublish: aliases stand for topics once the server knows them, and each answer comes with its token.
func TestPublish(t *testing.T) {
	s := serve(t, &server{connack: packets.Connack{Properties: &packets.Properties{TopicAliasMaximum: paho.Uint16(2)}}, each: acknowledge(0x97)})
	c, err := dial(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	topics := []string{"a", "b", "a", "c", "a", "b"} // the third topic takes the alias that was not used for longest
	for i, topic := range topics {
		if err := c.Publish(i, &paho.Publish{QoS: 1, Topic: topic, Properties: &paho.PublishProperties{}}, true); err != nil {
			t.Fatal(err)
		}
		if a := <-c.Answers(); a.Token != i || a.Code != 0x97 || a.Reason != "no" {
			t.Errorf("answer %d: got %+v", i, a)
		}
	}
	if err := c.Publish("plain", &paho.Publish{QoS: 0, Topic: "a", Properties: &paho.PublishProperties{}}, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all arrive", func() bool { return len(s.all(packets.PUBLISH)) == 7 })
	var got []string
	for _, p := range s.all(packets.PUBLISH) {
		content := p.Content.(*packets.Publish)
		alias := "-"
		if content.Properties.TopicAlias != nil {
			alias = fmt.Sprint(*content.Properties.TopicAlias)
		}
		got = append(got, content.Topic+alias)
	}
	if want := []string{"a1", "b2", "1", "c2", "1", "b2", "a-"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(c.UnderWay()); n != 0 {
		t.Errorf("under way: got %d, want 0", n)
	}
}

// TestInbound: what comes in is acknowledged when, how and in the order in which the receiver says.
func TestInbound(t *testing.T) {
	s := serve(t, &server{each: func(conn net.Conn, p *packets.ControlPacket) {
		if subscribe, ok := p.Content.(*packets.Subscribe); ok {
			_, _ = (&packets.Suback{PacketID: subscribe.PacketID, Reasons: []byte{1, 0x87}, Properties: &packets.Properties{}}).WriteTo(conn)
			for id := range uint16(2) {
				_, _ = (&packets.Publish{Topic: "x", QoS: 1, PacketID: id + 1, Payload: []byte{byte(id)}, Properties: &packets.Properties{CorrelationData: []byte("c")}}).WriteTo(conn)
			}
			_, _ = (&packets.Publish{Topic: "x", QoS: 0, Payload: []byte{2}, Properties: &packets.Properties{}}).WriteTo(conn)
		}
	}})
	type arrival struct {
		p      *packets.Publish
		answer func(byte, string)
	}
	arrivals := make(chan arrival, 3)
	c, err := dial(t, s, func(cfg *session.Config) {
		cfg.Receive = func(_ *session.Session, p *packets.Publish, answer func(byte, string)) {
			arrivals <- arrival{p, answer}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Subscribe(t.Context(), []string{"good", "forbidden"})
	if !answer.Answered || len(answer.Refused) != 1 || answer.Refused[1] != 0x87 || err != nil {
		t.Errorf("refused: got %v, %v, want the second", answer, err)
	}
	var waiting []arrival
	for i := range 3 {
		a := <-arrivals
		if a.p.Payload[0] != byte(i) {
			t.Errorf("message %d: got %v", i, a.p.Payload)
		}
		waiting = append(waiting, a)
	}
	if string(waiting[0].p.Properties.CorrelationData) != "c" || len(s.all(packets.PUBACK)) != 0 {
		t.Errorf("got %v and %d acknowledgements, want its properties and none yet", waiting[0].p.Properties, len(s.all(packets.PUBACK)))
	}
	waiting[0].answer(0, "")
	waiting[1].answer(0x83, "why")
	waiting[2].answer(0, "")
	eventually(t, "acknowledged", func() bool { return len(s.all(packets.PUBACK)) == 2 })
	first, second := s.all(packets.PUBACK)[0].Content.(*packets.Puback), s.all(packets.PUBACK)[1].Content.(*packets.Puback)
	if first.PacketID != 1 || first.ReasonCode != 0 || second.PacketID != 2 || second.ReasonCode != 0x83 || second.Properties.ReasonString != "why" {
		t.Errorf("got %+v and %+v", first, second)
	}
	_ = c.Close()
	waiting[1].answer(0, "") // too late, and harmless
}

// TestNoWildcards: a server that allows none is told of, without the filter, which has the vehicle's identifier.
func TestNoWildcards(t *testing.T) {
	c, err := dial(t, serve(t, &server{connack: packets.Connack{Properties: &packets.Properties{WildcardSubAvailable: new(byte)}}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := c.Subscribe(t.Context(), []string{"v1/anna/#"}); answer.Answered || err == nil || strings.Contains(err.Error(), "anna") {
		t.Errorf("got %v, %v, want an error without the filter", answer, err)
	}
}

// TestEnds: why a session ended, and whether the other side did it.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name     string
		end      func(*session.Session)
		each     func(net.Conn, *packets.ControlPacket)
		want     string
		byServer bool
		underWay int
	}{
		{name: "the server's word", want: "packet too large", byServer: true, underWay: 1, each: func(conn net.Conn, _ *packets.ControlPacket) {
			_, _ = (&packets.Disconnect{ReasonCode: 0x95, Properties: &packets.Properties{}}).WriteTo(conn)
		}},
		{name: "the server's word on something else", want: "taken over", underWay: 1, each: func(conn net.Conn, _ *packets.ControlPacket) {
			_, _ = (&packets.Disconnect{ReasonCode: 0x8e, Properties: &packets.Properties{}}).WriteTo(conn)
		}},
		{name: "cut off", want: "EOF", byServer: true, underWay: 1, each: func(conn net.Conn, _ *packets.ControlPacket) { _ = conn.Close() }},
		{name: "our own reason", want: "unacknowledged", underWay: 1, end: func(s *session.Session) { s.Fail(session.ErrNoAnswer) }},
		{name: "our wish", want: "connection closed", each: acknowledge(0), end: func(s *session.Session) { <-s.Answers(); s.Disconnect(false) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &server{each: c.each})
			conn, err := dial(t, s, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Publish("token", &paho.Publish{QoS: 1, Topic: "a", Properties: &paho.PublishProperties{}}, false); err != nil {
				t.Fatal(err)
			}
			if c.end != nil {
				c.end(conn)
			}
			<-conn.Lost()
			why := conn.Close()
			if !strings.Contains(why.Error(), c.want) || conn.EndedByServer() != c.byServer || len(conn.UnderWay()) != c.underWay {
				t.Errorf("got %v, by the server %v, %v under way; want %q, %v, %d", why, conn.EndedByServer(), conn.UnderWay(), c.want, c.byServer, c.underWay)
			}
			if sent, received := conn.Bytes(); sent == 0 || received == 0 {
				t.Errorf("bytes: got %d up and %d down", sent, received)
			}
		})
	}
}

// TestDisconnect: the reason code says whether the will is to be published.
func TestDisconnect(t *testing.T) {
	for will, want := range map[bool]byte{false: 0, true: 4} {
		s := serve(t, &server{})
		c, err := dial(t, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Disconnect(will)
		eventually(t, "goodbye", func() bool { return len(s.all(packets.DISCONNECT)) == 1 })
		if got := s.all(packets.DISCONNECT)[0].Content.(*packets.Disconnect).ReasonCode; got != want {
			t.Errorf("with will %v: got %#x, want %#x", will, got, want)
		}
	}
}

// TestSilence: a server that answers no ping is lost after the keep-alive time.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{})
	c, err := dial(t, s, func(cfg *session.Config) { cfg.KeepAlive = time.Second })
	if err != nil {
		t.Fatal(err)
	}
	<-c.Lost()
	if text, _ := session.Explain(c.Close(), time.Now()); text != "link is half-open or too slow" || len(s.all(packets.PINGREQ)) == 0 {
		t.Errorf("got %q after %d pings", text, len(s.all(packets.PINGREQ)))
	}
}

// TestBackoff: waits grow, stay between their bounds, and begin anew after Reset.
func TestBackoff(t *testing.T) {
	b := session.Backoff{Min: time.Second, Max: time.Minute, First: 100 * time.Millisecond}
	for range 20 {
		if first := b.Next(); first < 0 || first > b.First {
			t.Errorf("first: got %v, want at most %v", first, b.First)
		}
		longest := time.Duration(0)
		for range 200 {
			wait := b.Next()
			if wait < b.Min || wait > b.Max {
				t.Fatalf("got %v, want between %v and %v", wait, b.Min, b.Max)
			}
			longest = max(longest, wait)
		}
		if longest < 10*time.Second {
			t.Errorf("longest of 200: got %v, want the waits to grow", longest)
		}
		b.Reset()
	}
	if none := (&session.Backoff{Min: 1, Max: 1, First: -1}).Next(); none != 0 {
		t.Errorf("without a first wait: got %v", none)
	}
}

// TestCancelled: a context that ends while a server is silent ends the attempt after the grace.
func TestCancelled(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := session.ParseEndpoint("mqtt://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = session.NewDialer(session.Config{Device: "tcu", Timeout: time.Hour, Grace: 50 * time.Millisecond}).Connect(ctx, e, will)
	if passed := time.Since(began); err == nil || passed > time.Minute {
		t.Errorf("got %v after %v, want an error soon", err, passed)
	}
}
