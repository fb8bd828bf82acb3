package cloud

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telltale.dev/cloud/ingest"
)

// metrics serves the rooms' counters in Prometheus' form, read when asked for.
func (c *Cloud) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(room, name, help string, value func() float64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "telltale", Subsystem: room, Name: name, Help: help}, value))
	}
	gauge := func(room, name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "telltale", Subsystem: room, Name: name, Help: help}, value))
	}
	gauge("broker", "connections", "Clients with an accepted CONNECT.", func() float64 { return float64(c.broker.Stats().Connections) })
	counter("broker", "publishes_total", "Publishes handed on for storing.", func() float64 { return float64(c.broker.Stats().Publishes) })
	counter("broker", "delivered_total", "Messages handed to connections.", func() float64 { return float64(c.broker.Stats().Delivered) })
	gauge("broker", "queued", "Messages waiting for sessions.", func() float64 { return float64(c.broker.Stats().Queued) })

	counter("ingest", "stored_total", "Messages on disk before their PUBACK.", func() float64 { return float64(c.front.Stats().Stored) })
	counter("ingest", "stored_bytes_total", "Their payload bytes.", func() float64 { return float64(c.front.Stats().Bytes) })
	counter("ingest", "over_quota_total", "Messages refused with 0x97 because a vehicle sent too much.", func() float64 { return float64(c.front.Stats().OverQuota) })
	counter("ingest", "busy_total", "Messages refused with 0x97 because the backbone was busy or full.", func() float64 {
		s := c.front.Stats()
		return float64(s.Busy + s.Full)
	})
	counter("ingest", "not_active_total", "Messages refused with 0x87.", func() float64 { return float64(c.front.Stats().NotActive) })
	counter("backbone", "batches_total", "Atomic batches committed.", func() float64 { return float64(c.backbone.Stats().Batches) })
	gauge("backbone", "queued", "Messages waiting for the disk.", func() float64 { return float64(c.backbone.Stats().Queued) })
	counter("live", "dropped_total", "Live messages that slow watchers missed.", func() float64 { return float64(c.live.Dropped()) })

	total := func(pick func(ingest.ProcessorStats) uint64) func() float64 {
		return func() float64 {
			sum := 0.0
			for _, l := range c.lanes {
				sum += float64(pick(l.processor.Stats()))
			}
			return sum
		}
	}
	counter("processor", "batches_total", "New batches decoded.", total(func(s ingest.ProcessorStats) uint64 { return s.Batches }))
	counter("processor", "samples_total", "Samples in them.", total(func(s ingest.ProcessorStats) uint64 { return s.Samples }))
	counter("processor", "duplicates_total", "Deliveries left out because they came before.", total(func(s ingest.ProcessorStats) uint64 { return s.Duplicates }))
	counter("processor", "dead_total", "Messages that could not be decoded.", total(func(s ingest.ProcessorStats) uint64 { return s.Dead }))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}
