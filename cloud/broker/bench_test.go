package broker_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

// cpu is the processor time of this process so far, client side included.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIngest publishes QoS 1 messages of 1 KiB over 16 TLS connections with a
// window of 32 each, into a handler that does nothing. The clients run in the same
// process: cpu-us/msg counts both sides.
func BenchmarkIngest(b *testing.B) {
	const clients, window = 16, 32
	s := start(b, quietCloud{&cloud{}}, nil)
	tokens := make(chan struct{}, clients*window)
	ended := make(chan error, clients)
	for n := range clients {
		vid := fmt.Sprintf("v%d", n)
		go func(r *raw) { ended <- publishAll(r, "v1/"+vid+"/up/telemetry/c", tokens, window) }(s.device(vid, "d"))
	}
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		tokens <- struct{}{}
	}
	close(tokens)
	for range clients {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/msg")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// publishAll sends a message for each token.
func publishAll(r *raw, topic string, tokens <-chan struct{}, window int) error {
	payload := make([]byte, 1024)
	open, id := 0, uint16(0)
	drain := func(until int) error {
		for ; open > until; open-- {
			pk, err := r.tryRead(patience)
			if err != nil {
				return err
			}
			if pk.Type != paho.PUBACK {
				return fmt.Errorf("got %s", pk.PacketType())
			}
		}
		return nil
	}
	for range tokens {
		if id++; id == 0 {
			id = 1
		}
		if err := r.trySend(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: topic, Payload: payload}); err != nil {
			return err
		}
		if open++; open >= window {
			if err := drain(window / 2); err != nil {
				return err
			}
		}
	}
	return drain(0)
}

// BenchmarkFanOut delivers QoS 1 messages of 1 KiB to 16 subscribers; the figure is
// per message and receiver, both sides.
func BenchmarkFanOut(b *testing.B) {
	const receivers = 16
	s := start(b, quietCloud{&cloud{}}, func(c *broker.Config) { c.QueueMessages, c.QueueBytes = 1<<30, 1<<40 })
	done := make(chan error, receivers)
	for n := range receivers {
		r := s.operator(fmt.Sprintf("o%d", n))
		r.subscribe(paho.SubOptions{Topic: "v1/+/up/#", QoS: 1})
		go func() { done <- receive(r) }()
	}
	payload := make([]byte, 1024)
	before := cpu()
	b.ReportAllocs()
	for b.Loop() {
		for s.Stats().Queued > 4096 {
			time.Sleep(100 * time.Microsecond)
		}
		s.Deliver(broker.Message{Topic: "v1/v/up/telemetry/c", Payload: payload, QoS: 1})
	}
	s.Deliver(broker.Message{Topic: "v1/v/up/telemetry/c", Payload: []byte("end"), QoS: 1})
	for range receivers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N)/receivers, "cpu-us/receiver")
}

func receive(r *raw) error {
	for {
		pk, err := r.tryRead(patience)
		if err != nil {
			return err
		}
		p := pk.Content.(*paho.Publish)
		if string(p.Payload) == "end" {
			return nil
		}
		if err := r.trySend(paho.PUBACK, &paho.Puback{PacketID: p.PacketID, Properties: &paho.Properties{}}); err != nil {
			return err
		}
	}
}
