package broker_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

// TestAtRest: a connection that has said and heard something, and is silent now, has one goroutine, whose stack is 4 KiB,
// as the collector shrinks it to. It runs beside no other test.
func TestAtRest(t *testing.T) {
	const clients, stack = 64, 6 << 10
	s := start(t, &cloud{}, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	for n := range clients {
		vid := fmt.Sprintf("v%d", n)
		r := s.device(vid, "d")
		if code := r.publish(1, "v1/"+vid+"/up/telemetry/c", "x"); code != 0 {
			t.Fatalf("puback: got 0x%02X, want success", code)
		}
		r.alive()
	}
	eventually(t, "writers gone", func() bool { return runtime.NumGoroutine() <= goroutines+clients })
	if raceDetector() {
		return // frames are larger under it
	}
	eventually(t, "stacks shrunk", func() bool {
		runtime.GC()
		runtime.ReadMemStats(&after)
		return int64(after.StackInuse)-int64(before.StackInuse) <= clients*stack
	})
}

// raceDetector says whether the test was built with -race.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// pieces is a connection whose writes leave in pieces of changing size.
type pieces struct {
	net.Conn
	n int
}

func (p *pieces) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		p.n = p.n*31%701 + 1
		n := min(p.n, len(rest))
		if _, err := p.Conn.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

// TestPieces: records of TLS and packets arrive whatever the pieces that they come in: in parts, and many at once.
func TestPieces(t *testing.T) {
	t.Parallel()
	handler := &cloud{}
	s := start(t, handler, nil)
	for _, split := range []bool{true, false} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if split {
			conn = &pieces{Conn: conn}
		}
		r := newRaw(tls.Client(conn, s.ca.client("urn:dev:v:d")), t)
		r.send(paho.CONNECT, connectPacket("d", nil))
		r.read()
		const messages = 40
		sent := make(chan error, 1)
		go func() { sent <- sendSizes(r, messages) }()
		for id := 1; id <= messages; id++ {
			if got, code := r.puback(); int(got) != id || code != 0 {
				t.Fatalf("puback: got %d with 0x%02X, want %d with success", got, code, id)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		r.alive()
	}
	for i, p := range handler.all() {
		if want := sizedPayload(i%40 + 1); !bytes.Equal(p.Payload, want) {
			t.Errorf("message %d: got %d bytes, want the %d that were sent", i, len(p.Payload), len(want))
		}
	}
}

// sendSizes publishes messages of 1 byte to 60 kB, two of them in one write.
func sendSizes(r *raw, messages int) error {
	var buf bytes.Buffer
	for id := 1; id <= messages; id++ {
		p := &paho.Publish{PacketID: uint16(id), QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: sizedPayload(id)}
		if err := appendPacket(&buf, paho.PUBLISH, p); err != nil {
			return err
		}
		if id%2 == 0 {
			if _, err := r.Write(buf.Bytes()); err != nil {
				return err
			}
			buf.Reset()
		}
	}
	return nil
}

func sizedPayload(id int) []byte { return bytes.Repeat([]byte{byte(id)}, 1+id*id*id%60_000) }

// TestAsksAndDoesNotRead: a client that sends PINGREQ after PINGREQ and reads no answer is not read for long, and is
// gone once a write has waited too long.
func TestAsksAndDoesNotRead(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, func(c *broker.Config) { c.WriteTimeout = time.Second })
	r := s.device("v", "d")
	if err := r.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	pings := bytes.Repeat([]byte{paho.PINGREQ << 4, 0}, 8<<10)
	_ = r.SetWriteDeadline(time.Now().Add(2 * time.Minute)) // the kernel takes megabytes of answers before a write waits
	for {
		if _, err := r.Write(pings); err != nil {
			break
		}
	}
	eventually(t, "gone", func() bool { return s.Stats().Connections == 0 })
}
