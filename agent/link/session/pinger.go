package session

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paholog "github.com/eclipse/paho.golang/paho/log"
)

var errSilent = errors.New("nothing came within the keep-alive time, not even the answer to a ping: the link is half-open")

// pinger asks for a sign of life when nothing was sent, or nothing received,
// within the keep-alive time [MQTT-3.1.2-20]. Unlike paho's own it takes any
// packet for the answer: on a slow link the PINGRESP may be queued behind a
// window of batches.
type pinger struct {
	wire           *wire
	sent, received atomic.Int64 // ns since start
	start          time.Time
}

var _ paho.Pinger = (*pinger)(nil)

func newPinger(w *wire) *pinger { return &pinger{wire: w, start: time.Now()} }

// now is monotonic, so that a clock that is set does not look like silence.
func (p *pinger) now() int64 { return int64(time.Since(p.start)) }

// Run pings until ctx ends. It ends the connection when the server is silent.
func (p *pinger) Run(ctx context.Context, conn net.Conn, keepAlive uint16) error {
	if keepAlive == 0 { // the server may switch keep-alive off [MQTT-3.2.2-21]
		return nil
	}
	interval := time.Duration(keepAlive) * time.Second
	tick := time.NewTicker(interval / 8)
	defer tick.Stop()
	pinged := int64(-1) // when the unanswered ping was sent
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, received := p.now(), p.received.Load()
		if pinged >= 0 && received >= pinged {
			pinged = -1
		}
		switch {
		case pinged >= 0 && now-pinged >= int64(interval):
			p.wire.fail(errSilent)
			return errSilent
		case pinged < 0 && now-min(p.sent.Load(), received) >= int64(interval)*3/4:
			pinged = now
			// On a half-open link the write may be stuck, and must not keep us from noticing the silence.
			go func() { _, _ = packets.NewControlPacket(packets.PINGREQ).WriteTo(conn) }()
			p.PacketSent()
		}
	}
}

// PacketSent implements paho.Pinger.
func (p *pinger) PacketSent() { p.sent.Store(p.now()) }

// PacketReceived implements paho.Pinger.
func (p *pinger) PacketReceived() { p.received.Store(p.now()) }

// PingResp implements paho.Pinger; PacketReceived was called before it.
func (p *pinger) PingResp() {}

// SetDebug implements paho.Pinger.
func (p *pinger) SetDebug(paholog.Logger) {}
