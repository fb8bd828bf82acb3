package cloud

import (
	"context"
	"math"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/broker"
	"telltale.dev/cloud/ingest"
)

// figure is one number of a room, read when it is asked for.
type figure struct {
	room, name, help string
	value            func() float64
}

// metrics serves the rooms' figures in Prometheus' form.
func (c *Cloud) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, f := range c.counters() {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "telltale", Subsystem: f.room, Name: f.name + "_total", Help: f.help,
		}, f.value))
	}
	for _, f := range c.gauges() {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "telltale", Subsystem: f.room, Name: f.name, Help: f.help,
		}, f.value))
	}
	for _, o := range c.rooms {
		o.register(r)
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// register adds the figures of a room.
func (o *opened) register(r *prometheus.Registry) {
	var figures []backbone.Figure
	if len(o.takes) > 0 {
		figures = append(figures, backbone.Figure{Name: "unreadable", Help: "Documents of vehicles that could not be read; they are among the dead letters.",
			Value: func() float64 { return float64(o.unreadable.Load()) }})
	}
	if m, ok := o.room.(measurer); ok {
		figures = append(figures, m.Figures()...)
	}
	for _, f := range figures {
		opts := prometheus.Opts{Namespace: "telltale", Subsystem: o.figures, Name: f.Name, Help: f.Help}
		if f.Gauge {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), f.Value))
			continue
		}
		opts.Name += "_total"
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), f.Value))
	}
}

// deadLetters is how many there are.
func (c *Cloud) deadLetters() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), healthWait)
	defer cancel()
	info, err := c.backbone.Info(ctx, backbone.Dead)
	if err != nil {
		return math.NaN()
	}
	return float64(info.Messages)
}

func (c *Cloud) counters() []figure {
	front := func(pick func(ingest.FrontStats) uint64) func() float64 {
		return func() float64 { return float64(pick(c.front.Stats())) }
	}
	processed := func(pick func(ingest.ProcessorStats) uint64) func() float64 {
		return func() (sum float64) {
			for _, l := range c.processors {
				sum += float64(pick(l.Stats()))
			}
			return sum
		}
	}
	return append(c.brokerCounters(), []figure{
		{"gate", "refused", "Connections closed at once: no place, and no stranger who could give way.", func() float64 { return float64(c.gateStats().Refused) }},
		{"gate", "shed", "Connections of strangers, or idle ones, that gave way to newcomers.", func() float64 { return float64(c.gateStats().Shed) }},
		{"gate", "slow", "Connections of strangers whose time was over.", func() float64 { return float64(c.gateStats().Slow) }},
		{"gate", "accept_errors", "Passing errors of accepting, such as no file descriptor left.", func() float64 { return float64(c.gateStats().AcceptErrors) }},
		{"ingest", "stored", "Messages on disk before their PUBACK.", front(func(s ingest.FrontStats) uint64 { return s.Stored })},
		{"ingest", "stored_bytes", "Their payload bytes.", front(func(s ingest.FrontStats) uint64 { return s.Bytes })},
		{"ingest", "over_quota", "Messages refused with 0x97: a vehicle sent too much.", front(func(s ingest.FrontStats) uint64 { return s.OverQuota })},
		{"ingest", "busy", "Messages refused with 0x97: the backbone was busy or full.", front(func(s ingest.FrontStats) uint64 { return s.Busy + s.Full })},
		{"ingest", "full", "Those of them for which a stream or the disk was full.", front(func(s ingest.FrontStats) uint64 { return s.Full })},
		{"ingest", "not_active", "Messages refused with 0x87: the vehicle may not send.", front(func(s ingest.FrontStats) uint64 { return s.NotActive })},
		{"ingest", "failed", "Messages refused with 0x80.", front(func(s ingest.FrontStats) uint64 { return s.Failed })},
		{"backbone", "batches", "Commits of several messages at once.", func() float64 { return float64(c.backbone.Stats().Batches) }},
		{"processor", "batches", "New batches decoded.", processed(func(s ingest.ProcessorStats) uint64 { return s.Batches })},
		{"processor", "samples", "Samples in them.", processed(func(s ingest.ProcessorStats) uint64 { return s.Samples })},
		{"processor", "duplicates", "Deliveries left out because they came before.", processed(func(s ingest.ProcessorStats) uint64 { return s.Duplicates })},
		{"processor", "dead", "Messages that could not be decoded.", processed(func(s ingest.ProcessorStats) uint64 { return s.Dead })},
		{"processor", "dead_lost", "Dead letters that the dead-letter stream did not take.", processed(func(s ingest.ProcessorStats) uint64 { return s.DeadLost })},
		{"processor", "set_aside", "Batches set aside for their times; they are among the dead letters.", processed(func(s ingest.ProcessorStats) uint64 { return s.Aside })},
		{"consumer", "refused", "Offers that a room refused; each message is offered again.", c.consumed(func(s ingest.ConsumerStats) uint64 { return s.Refused })},
		{"consumer", "dead", "Messages that became dead letters because a room did not take them.", c.consumed(func(s ingest.ConsumerStats) uint64 { return s.Dead })},
		{"consumer", "skipped", "Messages that a stream deleted before a room took them.", c.consumed(func(s ingest.ConsumerStats) uint64 { return s.Gone })},
		{"processor", "skipped", "Messages that a stream deleted unread: its limits are too small.", processed(func(s ingest.ProcessorStats) uint64 { return s.Skipped })},
		{"backbone", "conflicts", "Conditional messages whose condition did not hold.", func() float64 { return float64(c.backbone.Stats().Conflicts) }},
		{"state", "ahead", "Rows left out of the state because their time cannot be.", func() float64 { return float64(c.states.Stats().Ahead) }},
		{"state", "unkept", "Columns left out of the state because a vehicle has too many signals.", func() float64 { return float64(c.states.Stats().Unkept) }},
		{"live", "dropped", "Samples and other live events that slow watchers missed.", func() float64 { return float64(c.live.Dropped()) }},
	}...)
}

// consumed sums up over the streams and their consumers.
func (c *Cloud) consumed(pick func(ingest.ConsumerStats) uint64) func() float64 {
	return func() (sum float64) {
		for _, l := range c.processors {
			for _, s := range l.Consumers() {
				sum += float64(pick(s))
			}
		}
		return sum
	}
}

func (c *Cloud) brokerCounters() []figure {
	refusals := func(byCode func(broker.Stats) map[byte]uint64) func() float64 {
		return func() (sum float64) {
			for code, n := range byCode(c.broker.Stats()) {
				if code >= 0x80 {
					sum += float64(n)
				}
			}
			return sum
		}
	}
	return []figure{
		{"broker", "publishes", "Publishes handed on for storing.", func() float64 { return float64(c.broker.Stats().Publishes) }},
		{"broker", "refused", "Publishes answered with a reason code from 0x80 on.", refusals(func(s broker.Stats) map[byte]uint64 { return s.Refused })},
		{"broker", "delivered", "Messages handed to connections.", func() float64 { return float64(c.broker.Stats().Delivered) }},
		{"broker", "declined", "Those that the client answered with a reason code from 0x80 on.", refusals(func(s broker.Stats) map[byte]uint64 { return s.Acknowledged })},
	}
}

func (c *Cloud) gauges() []figure {
	return []figure{
		{"gate", "connections", "Connections of all listeners.", func() float64 { return float64(c.gateStats().Open) }},
		{"gate", "strangers", "Those of them whose holder is not known yet.", func() float64 { return float64(c.gateStats().Strangers) }},
		{"broker", "connections", "Clients with an accepted CONNECT.", func() float64 { return float64(c.broker.Stats().Connections) }},
		{"broker", "queued", "Messages waiting for sessions.", func() float64 { return float64(c.broker.Stats().Queued) }},
		{"backbone", "refusing", "Reasons for which messages are refused now; /v1/health names them.", func() float64 { return float64(len(c.backbone.Refusals())) }},
		{"backbone", "disk_free_bytes", "Free on the disk of the embedded server.", func() float64 { free, _, _ := c.backbone.Space(); return float64(free) }},
		{"backbone", "disk_reserve_bytes", "Kept free on it: below, messages are refused.", func() float64 { _, kept, _ := c.backbone.Space(); return float64(kept) }},
		{"backbone", "timers", "Timers that are scheduled.", func() float64 { return float64(c.backbone.Stats().Timers) }},
		{"backbone", "dead_letters", "Messages among the dead letters; NaN while the backbone does not answer.", c.deadLetters},
		{"backbone", "queued", "Messages waiting for the disk.", func() float64 { return float64(c.backbone.Stats().Queued) }},
		{"processor", "waiting", "Processors that wait for a stream, a store or the lake.", func() (n float64) {
			for _, l := range c.processors {
				if l.Stats().Waiting {
					n++
				}
			}
			return n
		}},
		{"consumer", "owed", "Messages that rooms have not taken yet and will read from the streams.", c.consumed(func(s ingest.ConsumerStats) uint64 { return s.Owed })},
		{"consumer", "failing", "Rooms that refuse a message now, each stream counted.", c.consumed(func(s ingest.ConsumerStats) uint64 {
			if s.Failing {
				return 1
			}
			return 0
		})},
		{"registry", "vehicles", "Registered vehicles.", func() float64 { return float64(len(c.registry.Vehicles())) }},
		{"state", "signals", "Signals with a last known value.", func() float64 { return float64(c.states.Stats().Signals) }},
		{"state", "history_bytes", "Memory of the histories.", func() float64 { return float64(c.states.Stats().HistoryBytes) }},
		{"live", "watchers", "Streams of live events.", func() float64 { return float64(c.live.Watchers()) }},
	}
}
