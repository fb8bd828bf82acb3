package backbone_test

import (
	"bytes"
	"fmt"
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

// BenchmarkReader shows messages a second of 128 bytes, read in a loop of at most 500; one
// iteration is one message.
func BenchmarkReader(b *testing.B) {
	const stored = 50_000
	bb := open(b, backbone.Config{})
	store(b, bb, stored, make([]byte, 128))
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= stored {
		readAll(b, bb, backbone.Up, 0, min(left, stored))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// store fills the stream with n messages, at most 2,000 on their way at once.
func store(b *testing.B, bb *backbone.Backbone, n int, data []byte) {
	b.Helper()
	window := make(chan struct{}, 2000)
	for range n {
		window <- struct{}{}
		bb.Publish(backbone.Message{Subject: "up.s1.car.batch", Data: data}, func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			<-window
		})
	}
	for range cap(window) {
		window <- struct{}{}
	}
}

// BenchmarkBucket shows one writer and one reader of values of 200 bytes.
func BenchmarkBucket(b *testing.B) {
	k := bucket(b, open(b, backbone.Config{}), "vehicles")
	value := make([]byte, 200)
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Put(b.Context(), "car", value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Get(b.Context(), "car"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
