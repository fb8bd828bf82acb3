package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

func TestListenerClosedByAnother(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	b, err := broker.New(broker.Config{Listener: listener, TLS: ca.server(), Identify: identify, Handler: &cloud{}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- b.Run(t.Context()) }()
	listener.Close()
	if err := <-ended; err == nil {
		t.Error("Run: got no error")
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, &cloud{}, nil)
	_, err := broker.New(broker.Config{Listen: s.Addr().String(), TLS: s.ca.server(), Identify: identify, Handler: &cloud{}})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want an error that the address is in use", err)
	}
}

// TestSlowStrangers: neither a silent socket nor a silent TLS client stays.
func TestSlowStrangers(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, func(c *broker.Config) { c.ConnectTimeout = 300 * time.Millisecond })
	socket, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_ = socket.SetReadDeadline(time.Now().Add(patience))
	if _, err := socket.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("silent socket: got %v, want it closed", err)
	}
	s.dial(s.ca.client("urn:dev:v:d")).closed()

	// The deadline ends with CONNECT.
	r := s.device("v", "d")
	time.Sleep(500 * time.Millisecond)
	r.alive()
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestHugeHeader: a header that announces 200 MB must not be believed.
func TestHugeHeader(t *testing.T) {
	s := start(t, &cloud{}, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, first := range []byte{0x10, 0x30} {
		r := s.dial(s.ca.client("urn:dev:v:d"))
		if _, err := r.Write([]byte{first, 0xff, 0xff, 0xff, 0x5f}); err != nil {
			t.Fatal(err)
		}
		r.closed()
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
		t.Errorf("allocated %d bytes", got)
	}
}

func TestLargestPacket(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	if got := r.publish(1, "v1/v/up/telemetry/c", strings.Repeat("x", 256<<10-64)); got != 0 {
		t.Errorf("got %#x", got)
	}
	// The broker may close before it is all written.
	_ = r.trySend(paho.PUBLISH, &paho.Publish{PacketID: 2, QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: make([]byte, 256<<10)})
	r.closed()
	if got := len(handler.all()); got != 1 {
		t.Errorf("the handler got %d publishes, want 1", got)
	}
}

// TestDeepFilterIsCheap: mochi's tree spent 3 s on 20 of them.
func TestDeepFilterIsCheap(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.device("v", "d")
	begin := time.Now()
	for range 200 {
		r.subscribe(paho.SubOptions{Topic: strings.Repeat("a/", 30_000) + "a", QoS: 1})
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("200 subscriptions took %v", took)
	}
}

// TestMalformedPacketsEndOneConnection: mochi's decoder would panic on the first of them.
func TestMalformedPacketsEndOneConnection(t *testing.T) {
	handler := &cloud{presences: make(chan presenceCall, 1)}
	s := start(t, handler, nil)
	witness := s.operator("anna")
	packets := map[string]string{
		"SUBSCRIBE without options":  "\x82\x06\x00\x01\x00\x00\x01a",
		"SUBSCRIBE without filters":  "\x82\x03\x00\x01\x00",
		"SUBSCRIBE with id zero":     "\x82\x07\x00\x00\x00\x00\x01a\x01",
		"PUBLISH with a wildcard":    "\x32\x06\x00\x01+\x00\x01\x00",
		"PUBLISH without id":         "\x32\x06\x00\x01a\x00\x00\x00",
		"PUBLISH cut short":          "\x32\x03\x00\x09a",
		"PUBLISH with QoS 3":         "\x36\x06\x00\x01a\x00\x01\x00",
		"unknown property":           "\x32\x08\x00\x01a\x00\x01\x02\x7f\x00",
		"reserved type":              "\x00\x00",
		"SUBSCRIBE with wrong flags": "\x80\x07\x00\x01\x00\x00\x01a\x01",
		"UNSUBSCRIBE of nothing":     "\xa2\x03\x00\x01\x00",
	}
	for name, packet := range packets {
		r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", withWill(t, "v", "d", 0)))
		if _, err := r.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		r.closed()
		if got := (<-handler.presences).presence.State; got != "lost" {
			t.Errorf("%s: presence got %v, want lost", name, got)
		}
	}
	witness.alive()
	eventually(t, "one connection and session left", func() bool {
		got := s.Stats()
		return got.Connections == 1 && got.Sessions == 1
	})
	if got := s.Stats().Panics; got != 0 {
		t.Errorf("panics: got %d, want none", got)
	}
}

func FuzzPackets(f *testing.F) {
	f.Add([]byte("\x82\x06\x00\x01\x00\x00\x01a"))
	f.Add([]byte("\x82\x1b\x00\x01\x00\x00\x15v1/v/down/config/camps\x01"))
	f.Add([]byte("\x32\x18\x00\x13v1/v/up/telemetry/c\x00\x01\x00"))
	f.Add([]byte("\xa2\x08\x00\x01\x00\x00\x03v/+"))
	f.Add([]byte("\x40\x02\x00\x01\xc0\x00\xe0\x00"))
	handler := &cloud{}
	s := start(f, handler, nil)
	config, witness := s.ca.client("urn:dev:v:d"), s.operator("anna")
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := tls.Dial("tcp", s.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		r := newRaw(conn, t)
		defer conn.NetConn().Close()
		r.send(paho.CONNECT, connectPacket("d", nil))
		r.read()
		_, _ = conn.Write(data)
		_ = conn.CloseWrite()
		for {
			if _, err := r.tryRead(time.Second); err != nil {
				break
			}
		}
		newRaw(witness.Conn, t).alive()
		for _, p := range handler.all() {
			if p.Topic.Vehicle != "v" {
				t.Errorf("a publish for %s came through", p.Topic)
			}
		}
	})
}

// TestStall is the test that mochi's own delivery does not survive: a QoS 1
// subscriber with a session expiry, fed by 40 publishers.
func TestStall(t *testing.T) {
	t.Parallel()
	const publishers, each = 40, 1300
	handler := &cloud{}
	s := start(t, quietly(handler), func(c *broker.Config) { c.QueueMessages = publishers * each })
	handler.publish = func(p broker.Publish, done func(byte)) {
		s.Deliver(broker.Message{Topic: p.Topic.String(), Payload: p.Payload, QoS: 1})
		done(0)
	}
	subscriber, _ := s.join(s.ca.client("urn:ops:anna"), connectPacket("anna", resumable(nil)))
	subscriber.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1})
	var group sync.WaitGroup
	for n := range publishers {
		vid := fmt.Sprintf("v%d", n)
		r := s.device(vid, "d")
		group.Go(func() { feed(t, r, "v1/"+vid+"/up/telemetry/c", each) })
	}
	next := map[string]uint32{}
	var acks bytes.Buffer
	for range publishers * each {
		p := subscriber.message()
		got := binary.BigEndian.Uint32(p.Payload)
		if got != next[p.Topic] {
			t.Fatalf("%s: got %d, want %d", p.Topic, got, next[p.Topic])
		}
		next[p.Topic]++
		if err := appendPacket(&acks, paho.PUBACK, &paho.Puback{PacketID: p.PacketID, Properties: &paho.Properties{}}); err != nil {
			t.Fatal(err)
		}
		if subscriber.in.Buffered() == 0 || acks.Len() > 200 {
			if _, err := subscriber.Write(acks.Bytes()); err != nil {
				t.Fatal(err)
			}
			acks.Reset()
		}
	}
	group.Wait()
	subscriber.alive()
	if got := s.Stats(); got.Publishes != publishers*each || got.CutSessions != 0 {
		t.Errorf("stats: got %d publishes, %d cut", got.Publishes, got.CutSessions)
	}
}

func quietly(c *cloud) broker.Handler { return quietCloud{c} }

// quietCloud does not remember what was published.
type quietCloud struct{ *cloud }

func (q quietCloud) Publish(p broker.Publish, done func(byte)) {
	if q.publish == nil {
		done(0)
		return
	}
	q.publish(p, done)
}

// feed publishes n numbers with a window of 32.
func feed(t *testing.T, r *raw, topic string, n int) {
	var buf bytes.Buffer
	for first := 0; first < n; first += 32 {
		last := min(first+32, n)
		buf.Reset()
		for i := first; i < last; i++ {
			payload := binary.BigEndian.AppendUint32(nil, uint32(i))
			publish := &paho.Publish{PacketID: uint16(i%60000 + 1), QoS: 1, Topic: topic, Payload: payload}
			if err := appendPacket(&buf, paho.PUBLISH, publish); err != nil {
				t.Error(err)
				return
			}
		}
		if _, err := r.Write(buf.Bytes()); err != nil {
			t.Error(err)
			return
		}
		for range last - first {
			pk, err := r.tryRead(patience)
			if err != nil || pk.Type != paho.PUBACK {
				t.Errorf("%s: got %v, %v, want PUBACK", topic, pk, err)
				return
			}
		}
	}
}

// TestLogsNameNobody: no vehicle, device, payload, client id, topic or address in the
// log, at any level, also for what mochi would print whole.
func TestLogsNameNobody(t *testing.T) {
	var text syncBuffer
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	handler := &cloud{publish: func(_ broker.Publish, done func(byte)) { done(0x97) }}
	s := start(t, handler, func(c *broker.Config) { c.Log = log; c.QueueMessages = 1 })
	config := s.ca.client("urn:dev:vehicle-xyz:device-xyz")
	r, _ := s.join(config, connectPacket("device-xyz", func(c *paho.Connect) { c.KeepAlive = 1 }))
	r.publish(1, "v1/vehicle-xyz/up/telemetry/c", "payload-xyz")
	r.publish(2, "v1/other-xyz/up/telemetry/c", "payload-xyz")
	r.subscribe(paho.SubOptions{Topic: "v1/vehicle-xyz/down/config/+", QoS: 1}, paho.SubOptions{Topic: "topic-xyz", QoS: 1})
	for range 3 {
		s.Deliver(broker.Message{Topic: "v1/vehicle-xyz/down/config/c", Payload: []byte("payload-xyz"), QoS: 1})
	}
	r.closed()
	for _, packet := range []string{"\x32\x0b\x00\x04+xyz\x00\x01\x00xyz", "\x82\x06\x00\x01\x00\x00\x01a"} {
		r, _ = s.join(config, connectPacket("device-xyz", nil))
		if _, err := r.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		r.closed()
	}
	refused := s.dial(config)
	refused.send(paho.CONNECT, connectPacket("other-xyz", nil))
	refused.closed()
	s.stop()
	for _, word := range []string{"xyz", "127.0.0.1", "urn:"} {
		if i := bytes.Index(text.Bytes(), []byte(word)); i >= 0 {
			t.Errorf("the log has %q: …%s", word, text.Bytes()[max(0, i-200):min(i+50, len(text.Bytes()))])
		}
	}
	if len(text.Bytes()) == 0 {
		t.Error("nothing was logged")
	}
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestShutDownWithStuckClients: Run returns although clients do not read.
func TestShutDownWithStuckClients(t *testing.T) {
	s := start(t, &cloud{}, nil)
	for i := range 5 {
		r, _ := s.join(s.ca.client(fmt.Sprintf("urn:ops:o%d", i)), connectPacket("o", nil))
		r.subscribe(paho.SubOptions{Topic: "v1/+/down/#", QoS: 1})
	}
	big := make([]byte, 200<<10)
	for range 60 {
		s.Deliver(broker.Message{Topic: configTopic, Payload: big, QoS: 1})
	}
	begin := time.Now()
	s.stop()
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("Run took %v to return", took)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ca := newAuthority(t)
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0", TLS: ca.server(), Identify: identify, Handler: &cloud{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	b.Deliver(broker.Message{Topic: configTopic})
}
