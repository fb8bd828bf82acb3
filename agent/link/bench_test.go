package link_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link"
)

// BenchmarkRecords sends records of 4 KiB over mutual TLS to a server that
// acknowledges at once, in the same process.
func BenchmarkRecords(b *testing.B) {
	ca := newAuthority(b, "ours")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.leaf(-day, day)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go acknowledge(ln)
	buf := newMemory()
	l, err := link.New(link.Config{
		Endpoints: []string{ln.Addr().String()}, Vehicle: vid, Device: did, Boot: boot, PowerJitter: -1,
		TLS:    &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.leaf(-day, day)}},
		Buffer: buf, Schemas: schemas{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	payload := make([]byte, 4<<10)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		buf.forget()
		buf.add(buffer.Record{Payload: payload, Created: time.Now(), TTL: time.Hour})
		for n-min(n, l.Stats().Acked) > 64 { // keep the window full
			time.Sleep(10 * time.Microsecond)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// acknowledge serves one connection.
func acknowledge(ln net.Listener) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch content := p.Content.(type) {
		case *packets.Connect:
			(&packets.Connack{Properties: &packets.Properties{TopicAliasMaximum: ptr(uint16(32))}}).WriteTo(packets.NewThreadSafeConn(c))
		case *packets.Subscribe:
			(&packets.Suback{PacketID: content.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}}).WriteTo(c)
		case *packets.Publish:
			(&packets.Puback{PacketID: content.PacketID, Properties: &packets.Properties{}}).WriteTo(c)
		}
	}
}
