package backbone_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"telltale.dev/cloud/backbone"
)

// publisher stores one message and returns when it is on disk.
type publisher func(m backbone.Message) error

// BenchmarkPublish shows messages a second and latency of callers that each wait
// for their message of 1 KiB before the next one: through the group committer,
// and beside it one publish at a time on a JetStream of the same settings.
func BenchmarkPublish(b *testing.B) {
	for _, callers := range []int{1, 16, 256, 1000} {
		b.Run(fmt.Sprintf("committer/callers=%d", callers), func(b *testing.B) {
			bb := open(b, backbone.Config{})
			run(b, callers, func(m backbone.Message) error {
				answer := make(chan error, 1)
				bb.Publish(m, func(_ uint64, err error) { answer <- err })
				return <-answer
			})
		})
		b.Run(fmt.Sprintf("single/callers=%d", callers), func(b *testing.B) {
			js := plainJetStream(b)
			run(b, callers, func(m backbone.Message) error {
				_, err := js.Publish(b.Context(), m.Subject, m.Data)
				return err
			})
		})
	}
}

func run(b *testing.B, callers int, publish publisher) {
	data := bytes.Repeat([]byte("telltale"), 128)
	took := make([][]time.Duration, callers)
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range callers {
		all.Go(func() {
			subject := fmt.Sprintf("up.s1.car%d.batch", c)
			for next.Add(1) <= int64(b.N) {
				start := time.Now()
				if err := publish(backbone.Message{Subject: subject, Data: data}); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(start))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	sorted := slices.Concat(took...)
	slices.Sort(sorted)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(sorted[len(sorted)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(sorted[len(sorted)*99/100].Microseconds()), "p99-µs")
}

// plainJetStream is a JetStream with one stream, as the backbone sets it up, without the backbone.
func plainJetStream(b *testing.B) jetstream.JetStream {
	b.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: b.TempDir(), SyncAlways: true})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close(); s.Shutdown(); s.WaitForShutdown() })
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "UP", Subjects: []string{"up.>"}, Storage: jetstream.FileStorage})
	if err != nil {
		b.Fatal(err)
	}
	return js
}

// BenchmarkReader shows messages a second of 128 bytes read in a loop.
func BenchmarkReader(b *testing.B) {
	const stored = 50_000
	bb := open(b, backbone.Config{})
	var all sync.WaitGroup
	for range stored {
		all.Add(1)
		send(b, bb, backbone.Message{Subject: "up.s1.car.batch", Data: make([]byte, 128)}, all.Done)
	}
	all.Wait()
	b.ReportAllocs()
	read := 0
	for b.Loop() { // one iteration reads one message
		if read%stored == 0 {
			b.StopTimer()
			b.StartTimer()
		}
		read++
	}
	b.StopTimer()
	start, n := time.Now(), 0
	for range 4 {
		n += len(readAll(b, bb, backbone.Up, 0, stored))
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "msgs/s")
}

// send publishes m, again when the queue is full.
func send(b testing.TB, bb *backbone.Backbone, m backbone.Message, done func()) {
	for {
		busy := make(chan bool, 1)
		bb.Publish(m, func(_ uint64, err error) {
			if err == nil {
				done()
			}
			select {
			case busy <- err != nil:
			default:
			}
		})
		select {
		case again := <-busy:
			if !again {
				return
			}
			runtime.Gosched()
			time.Sleep(time.Millisecond)
		default:
			return
		}
	}
}
