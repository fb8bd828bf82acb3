package backbone_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// The load of BenchmarkHotBesideBulk, in messages a second.
const (
	hotRate  = 250
	bulkRate = 5000
	phase    = time.Second
	phases   = 12 // alone and beside in turn
)

// BenchmarkHotBesideBulk is how long urgent messages take to the disk, alone and beside 20 times as many of bulk, in
// turn in one run. Figures are medians over the phases. It is the backbone's part of the benchmark of that name in simulator/fleet.
func BenchmarkHotBesideBulk(b *testing.B) {
	bb := open(b, backbone.Config{})
	for b.Loop() {
		var p99s, p50s [2][]float64
		for i := range phases {
			took := beside(bb, i%2 == 1)
			slices.Sort(took)
			p50s[i%2] = append(p50s[i%2], took[len(took)/2].Seconds()*1e3)
			p99s[i%2] = append(p99s[i%2], took[len(took)*99/100].Seconds()*1e3)
		}
		median := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(p99s[0]), "alone-p99-ms")
		b.ReportMetric(median(p99s[1]), "beside-p99-ms")
		b.ReportMetric(median(p99s[1])/median(p99s[0]), "p99-ratio")
		b.ReportMetric(median(p50s[1])/median(p50s[0]), "p50-ratio")
	}
}

// beside publishes urgent messages for one phase, and bulk too if asked, and gives the times of the urgent ones.
func beside(bb *backbone.Backbone, bulk bool) (took []time.Duration) {
	var mu sync.Mutex
	var all sync.WaitGroup
	pace := func(rate int, send func(n int)) {
		began := time.Now()
		for n := 0; time.Since(began) < phase; {
			for due := int(time.Since(began).Seconds() * float64(rate)); n < due; n++ {
				send(n)
			}
			time.Sleep(time.Millisecond)
		}
	}
	publish := func(subject string, told func(time.Duration)) {
		began := time.Now()
		all.Add(1)
		bb.Publish(backbone.Message{Subject: subject, Data: make([]byte, 1024)}, func(uint64, error) {
			told(time.Since(began))
			all.Done()
		})
	}
	var senders sync.WaitGroup
	if bulk {
		senders.Go(func() {
			pace(bulkRate, func(n int) { publish(fmt.Sprintf("low.%d.car.telemetry", n%16), func(time.Duration) {}) })
		})
	}
	senders.Go(func() {
		pace(hotRate, func(int) {
			publish("up.local.car.event", func(d time.Duration) {
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			})
		})
	})
	senders.Wait()
	all.Wait()
	return took
}
