package downlink_test

import (
	"context"
	"testing"
	"time"

	"telltale.dev/agent/link/downlink"
)

// BenchmarkAcknowledge is the time from the arrival of a document of 8 KiB to its PUBACK: what the disk takes for a file. The
// pace that spares the flash is left out by beginning anew each time.
func BenchmarkAcknowledge(b *testing.B) {
	payload := make([]byte, 8<<10)
	dir := b.TempDir()
	var longest time.Duration
	for b.Loop() {
		b.StopTimer()
		cfg := (&rig{}).config(dir)
		d, err := downlink.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		answered := make(chan struct{})
		payload[0]++
		b.StartTimer()
		began := time.Now()
		d.Receive(downlink.Arrival{
			Message: downlink.Message{Topic: unlock, Payload: payload, QoS: 1, Received: began},
			Answer:  func(byte, string) { close(answered) },
		}, nil)
		<-answered
		longest = max(longest, time.Since(began))
		b.StopTimer()
		cancel()
		<-ended
		b.StartTimer()
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
}
