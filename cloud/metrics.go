package cloud

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
)

// registerFigures has /metrics show what all rooms count. It comes last, when all are open.
func (c *Cloud) registerFigures(context.Context) error {
	c.figures.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for name, it := range map[string]measurer{
		"gate": c.gates, "broker": c.broker, "ingest": c.front, "processor": ingest.Processors(c.processors), "consumer": ingest.Readers(c.processors),
		"backbone": c.backbone, "live": c.live,
	} {
		register(c.figures, name, it.Figures())
	}
	for _, o := range c.rooms {
		if len(o.takes) > 0 {
			register(c.figures, o.figures, []backbone.Figure{{
				Name: "unreadable", Help: "Documents of vehicles that could not be read; they are among the dead letters.",
				Value: func() float64 { return float64(o.unreadable.Load()) },
			}})
		}
		if m, ok := o.room.(measurer); ok {
			register(c.figures, o.figures, m.Figures())
		}
	}
	return nil
}

// register adds the figures of a room.
func register(r *prometheus.Registry, room string, figures []backbone.Figure) {
	for _, f := range figures {
		opts := prometheus.Opts{Namespace: "telltale", Subsystem: room, Name: f.Name, Help: f.Help}
		if f.Gauge {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), f.Value))
			continue
		}
		opts.Name += "_total"
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), f.Value))
	}
}
