package link_test

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// proxy is a TCP link that can swallow bytes (half-open) and be cut.
type proxy struct {
	ln     net.Listener
	addr   string
	frozen atomic.Bool
	mu     sync.Mutex
	near   []net.Conn // to the vehicle
	far    []net.Conn // to the server
	wg     sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, addr: ln.Addr().String()}
	p.wg.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			p.mu.Lock()
			p.near, p.far = append(p.near, a), append(p.far, b)
			p.mu.Unlock()
			p.wg.Go(func() { p.copy(a, b) })
			p.wg.Go(func() { p.copy(b, a) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) copy(dst, src net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		if !p.frozen.Load() {
			if err != nil {
				dst.Close()
				return
			}
			dst.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range append(p.near, p.far...) {
		c.Close()
	}
}

// strand makes the link half-open and lets the server notice at once.
func (p *proxy) strand() {
	p.frozen.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.far {
		c.Close()
	}
}

func TestHalfOpenLinkIsNoticedByKeepAlive(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{}, nil)
	p := newProxy(t, s.addr)
	r := start(t, newMemory(), func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + p.addr}
		c.KeepAlive, c.Timeout = time.Second, 300*time.Millisecond
	})
	eventually(t, "birth", func() bool { return len(s.received()) == 1 })
	time.Sleep(1200 * time.Millisecond)
	if st := r.Stats(); !st.Connected || st.Losses > 0 {
		t.Fatalf("an idle connection that answers pings was given up: %+v", st)
	}
	began := time.Now()
	p.frozen.Store(true)
	eventually(t, "loss is noticed", func() bool { return r.Stats().Losses == 1 })
	t.Logf("noticed after %v; the keep-alive time is 1 s", time.Since(began))
	p.frozen.Store(false)
	eventually(t, "second birth", func() bool { return len(presences(t, s.received())) == 2 })
}

func TestHalfOpenLinkIsNoticedByMissingAcknowledgements(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{answer: func(p publish) byte {
		if p.connection == 1 && p.topic.Kind != topics.Presence {
			return noAnswer
		}
		return 0
	}}, nil)
	buf := newMemory()
	buf.add(numbered("r", 3, protocol.CS3)...)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + s.addr}
		c.AckTimeout = 200 * time.Millisecond
	})
	eventually(t, "all acknowledged at the second connection", func() bool { return buf.left() == 0 })
	if st := r.Stats(); st.Losses != 1 || !strings.Contains(st.LastError, "half-open") {
		t.Errorf("stats: got %+v, want one loss of a half-open link", st)
	}
}

// A peer that reads nothing fills the socket's buffers: the writer is stuck.
func TestStuckWriteIsNoticed(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	s := serve(t, &server{narrow: true, answer: func(p publish) byte {
		if p.connection == 1 && p.topic.Kind != topics.Presence {
			<-block // and the reader stands still
		}
		return 0
	}}, nil)
	buf := newMemory()
	buf.add(buffer.Record{Payload: []byte("small")}, buffer.Record{Payload: bytes.Repeat([]byte("x"), 250<<10)})
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + s.addr}
		c.AckTimeout = 300 * time.Millisecond
	})
	eventually(t, "loss", func() bool { return r.Stats().Losses == 1 })
	if r.log.count("a write was stuck") != 1 {
		t.Error("log: the stuck write is missing")
	}
	close(block)
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
}

// A record that makes the server end the connection each time holds up nobody.
func TestDeadlyRecordGoesLast(t *testing.T) {
	t.Parallel()
	var s *server
	var healed atomic.Bool
	s = serve(t, &server{answer: func(p publish) byte {
		if string(p.payload) == "bad-3" && !healed.Load() {
			s.mu.Lock()
			s.conns[p.connection-1].Close()
			s.mu.Unlock()
			return noAnswer
		}
		time.Sleep(200 * time.Microsecond)
		return 0
	}}, nil)
	buf := newMemory()
	buf.add(numbered("bad", 100, protocol.CS5)...)
	buf.add(numbered("good", 100, protocol.CS1)...)
	r := start(t, buf, func(c *link.Config) { c.Endpoints, c.Window = []string{"mqtt://" + s.addr}, 64 })
	eventually(t, "all but one acknowledged", func() bool { return buf.left() == 1 })
	buf.add(numbered("live", 10, protocol.CS3)...)
	eventually(t, "all but one acknowledged again", func() bool { return buf.left() == 1 && complete(s.received(), "live-9") })
	healed.Store(true)
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	if n := r.log.count("record is sent last"); n == 0 {
		t.Error("log: nothing about the suspect")
	}
}

// TestDeadlySubscription: a server that ends each connection in which something is subscribed gets all that waits nevertheless, and
// fewer and fewer connections; once it answers, documents come.
func TestDeadlySubscription(t *testing.T) {
	t.Parallel()
	var healed atomic.Bool
	var ends atomic.Int32
	s := serve(t, &server{subscribe: func(*serverConn) bool {
		if !healed.Load() {
			ends.Add(1)
		}
		return healed.Load()
	}, answer: func(p publish) byte {
		if p.topic.Kind != topics.Presence {
			time.Sleep(5 * time.Millisecond) // so that an end comes before all is handed over
		}
		return 0
	}}, nil)
	buf := newMemory()
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints, c.BackoffMin, c.BackoffMax = []string{"mqtt://" + s.addr}, 5*time.Millisecond, 20*time.Millisecond
		takes(t, c, func(downlink.Message) {})
	})
	eventually(t, "some ends", func() bool { return ends.Load() >= 5 })
	buf.add(numbered("good", 200, protocol.CS1)...)
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	if got := ends.Load(); got > 15 {
		t.Errorf("the connection was lost %d times meanwhile, want ever longer ones", got)
	}
	healed.Store(true)
	eventually(t, "the subscription", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return r.Stats().Connected && len(s.filters) > int(ends.Load())
	})
	if n := r.log.count("that comes later"); n != 1 {
		t.Errorf("log: told %d times that subscribing comes later, want once", n)
	}
}

func TestEndpointsAreTriedInTurn(t *testing.T) {
	busy := serve(t, &server{connack: func(_ int, _ *packets.Connect, ca *packets.Connack) { ca.ReasonCode = 0x89 }}, nil)
	good := serve(t, &server{}, nil)
	closed := freePort(t)
	buf := newMemory()
	buf.add(numbered("r", 1, protocol.CS3)...)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + closed, "mqtt://host.invalid", "mqtt://" + busy.addr, "mqtt://" + good.addr}
	})
	eventually(t, "acknowledged", func() bool { return buf.left() == 0 })
	if st := r.Stats(); st.Endpoint != good.addr || st.Connection != 4 {
		t.Errorf("stats: got %+v, want the fourth endpoint at the fourth attempt", st)
	}
	for _, text := range []string{"connection refused", "name is not resolved", "server busy"} {
		if n := r.log.count(text); n == 0 {
			t.Errorf("log: %q is missing", text)
		}
	}
}

func TestFailuresAreLoggedOncePerChange(t *testing.T) {
	var code atomic.Int32
	code.Store(0x87)
	s := serve(t, &server{connack: func(_ int, _ *packets.Connect, ca *packets.Connack) { ca.ReasonCode = byte(code.Load()) }}, nil)
	r := start(t, newMemory(), func(c *link.Config) {
		c.Endpoints = []string{"mqtt://" + s.addr}
		c.BackoffMin, c.BackoffMax = time.Millisecond, 3*time.Millisecond
	})
	eventually(t, "ten attempts", func() bool { return s.connected() >= 10 })
	code.Store(0x89)
	eventually(t, "busy", func() bool { return strings.Contains(r.Stats().LastError, "busy") })
	code.Store(0)
	eventually(t, "connected", func() bool { return r.Stats().Connected })
	for text, want := range map[string]int{"not authorised\"": 1, "server busy\"": 1, "msg=connected": 1} {
		if got := r.log.count(text); got != want {
			t.Errorf("lines with %q: got %d, want %d", text, got, want)
		}
	}
}

func TestServersLimitsAreKept(t *testing.T) {
	s := serve(t, &server{connack: func(_ int, _ *packets.Connect, ca *packets.Connack) {
		ca.Properties.ReceiveMaximum = ptr(uint16(3))
		ca.Properties.TopicAliasMaximum = ptr(uint16(2))
		ca.Properties.MaximumPacketSize = ptr(uint32(1000))
	}}, nil) // the server reports what is beyond
	buf := newMemory()
	const large = 250
	for i := range large {
		payload := bytes.Repeat([]byte{'p'}, 780+i) // headers and properties are about 150 bytes
		buf.add(buffer.Record{Payload: payload, Topic: "v1/veh-1/up/telemetry/" + string(rune('a'+i%3)), Purpose: "p"})
	}
	buf.add(buffer.Record{Payload: []byte("small")})
	r := start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "small one acknowledged", func() bool { return complete(s.received(), "small") && r.Stats().InFlight == 0 })
	st := r.Stats()
	if st.TooLarge == 0 || st.TooLarge == large || int(st.TooLarge) != buf.left() || st.SetAside != st.TooLarge {
		t.Errorf("too large: got %d of %d, %d left: want some, and those left", st.TooLarge, large, buf.left())
	}
	largest := 0
	for _, p := range s.received() {
		if !p.aliased {
			largest = max(largest, p.size)
		}
	}
	if largest < 990 {
		t.Errorf("largest packet sent: got %d, want close to 1000: the size is computed too cautiously", largest)
	}
}

func TestExpiredRecordsAreDroppedAndCounted(t *testing.T) {
	s := serve(t, &server{}, nil)
	buf := newMemory()
	old := time.Now().Add(-time.Hour)
	buf.add(
		buffer.Record{Payload: []byte("expired"), Created: old, TTL: time.Minute},
		buffer.Record{Payload: []byte("for ever"), Created: old},
		buffer.Record{Payload: []byte("from the future"), Created: time.Now().Add(time.Hour), TTL: time.Minute},
		buffer.Record{Payload: []byte("no time"), TTL: time.Minute},
	)
	r := start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "all gone", func() bool { return buf.left() == 0 })
	if got := payloads(s.received()); !slices.Equal(got, []string{"for ever", "from the future", "no time"}) {
		t.Errorf("got %v", got)
	}
	if st := r.Stats(); st.Expired != 1 || st.ExpiredSamples != 10 || st.Acked != 3 {
		t.Errorf("stats: got %+v", st)
	}
}

// TestClockSetForward: what was made since the start is not expired, whatever the clock said then.
func TestClockSetForward(t *testing.T) {
	s := serve(t, &server{}, nil)
	buf := newMemory()
	r := start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	buf.add(buffer.Record{Payload: []byte("a"), Created: time.Unix(0, 0), TTL: time.Hour})
	eventually(t, "the record is gone", func() bool { return buf.left() == 0 })
	if st := r.Stats(); st.Expired != 0 || st.Acked != 1 {
		t.Errorf("stats: got %+v", st)
	}
	if got := s.received(); *got[len(got)-1].properties.MessageExpiry < 3000 {
		t.Errorf("message expiry: got %d s, want nearly an hour", *got[len(got)-1].properties.MessageExpiry)
	}
}

// What a server must not send ends the connection with a clear word, and never more.
func TestBadServers(t *testing.T) {
	t.Parallel()
	publish := func(id uint16, qos byte) []byte {
		var b bytes.Buffer
		(&packets.Publish{Topic: "v1/veh-1/down/config/x", QoS: qos, PacketID: id, Properties: &packets.Properties{}}).WriteTo(&b)
		return b.Bytes()
	}
	flood := []byte{}
	for i := range 100 {
		flood = append(flood, publish(uint16(i+1), 1)...)
	}
	for _, c := range []struct {
		name string
		send []byte
		want string
	}{
		{"a packet of 200 MB", []byte{0x30, 0x80, 0x80, 0x80, 0x60}, "larger than"},
		{"a length of five bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, "malformed"},
		{"packet type 0", []byte{0x00, 0x00}, ""},
		{"QoS 2", publish(1, 2), "quality of service"},
		{"beyond our receive maximum", flood, "more messages"},
		{"DISCONNECT: taken over", []byte{0xe0, 0x02, 0x8e, 0x00}, "taken over"},
		{"acknowledgements of nothing", bytes.Repeat([]byte{0x40, 0x02, 0x12, 0x34}, 1000), "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &server{subscribed: func(sc *serverConn) {
				if sc.number == 1 {
					sc.wmu.Lock()
					io.Copy(sc.Conn, bytes.NewReader(c.send))
					sc.wmu.Unlock()
				}
			}}, nil)
			buf := newMemory()
			hold := make(chan struct{})
			defer close(hold)
			r := start(t, buf, func(cfg *link.Config) {
				cfg.Endpoints = []string{"mqtt://" + s.addr}
				takes(t, cfg, func(downlink.Message) {})
				cfg.Write = func(string, []byte) error {
					select {
					case <-hold:
					case <-time.After(300 * time.Millisecond):
					}
					return nil
				}
			})
			if c.want == "-" {
				time.Sleep(50 * time.Millisecond)
			} else {
				eventually(t, "loss", func() bool { return r.Stats().Losses == 1 })
			}
			if c.want != "-" && r.log.count(c.want) == 0 {
				t.Errorf("log: %q is missing", c.want)
			}
			buf.add(numbered("r", 3, protocol.CS3)...)
			eventually(t, "records are sent", func() bool { return buf.left() == 0 })
		})
	}
}

// freePort gives an address on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
