package cloud

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/cloud/registry"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
)

// openAPI shows the rooms over HTTP.
func (c *Cloud) openAPI(context.Context) (err error) {
	c.api, err = api.New(api.Config{
		Listen: c.cfg.HTTP, Gate: c.gateAPI, Version: c.cfg.Version, Vehicles: views{c}, States: views{c}, Deliveries: views{c}, Updates: views{c},
		Campaigns: views{c}, Schema: views{c}.schema, Live: c.live, Extensions: extensions(append(table(), c.cfg.rooms...), c.rooms), Health: c.health, Metrics: promhttp.HandlerFor(c.figures, promhttp.HandlerOpts{}), Origins: c.cfg.Origins, Log: c.cfg.Log,
	})
	return err
}

// views turns what the rooms hold into what the API shows.
type views struct{ *Cloud }

// Vehicles implements api.Vehicles.
func (v views) Vehicles() []api.Vehicle {
	list := []api.Vehicle{}
	for _, entry := range v.registry.Vehicles() {
		list = append(list, v.vehicle(entry))
	}
	return list
}

// Vehicle implements api.Vehicles.
func (v views) Vehicle(vid string) (api.Vehicle, bool) {
	entry, ok := v.registry.Vehicle(protocol.VehicleID(vid))
	if !ok {
		return api.Vehicle{}, false
	}
	return v.vehicle(entry), true
}

func (v views) vehicle(entry registry.Vehicle) api.Vehicle {
	presence := map[protocol.DeviceID]state.Presence{}
	for _, p := range v.states.Presence(entry.ID) {
		presence[p.Device] = p
	}
	out := api.Vehicle{ID: string(entry.ID), State: string(entry.State), Since: entry.Registered, Devices: []api.Device{}}
	for _, d := range entry.Devices {
		shown := api.Device{ID: string(d.ID), Presence: string(protocol.PresenceUnknown), Since: v.started.UTC(), Loss: loss(d.Loss)}
		if p, ok := presence[d.ID]; ok {
			shown.Presence, shown.Since = string(p.State), p.Since
			if p.State == protocol.PresenceAsleep && p.WakesAt != 0 {
				wakes := time.UnixMilli(p.WakesAt).UTC()
				shown.Wakes = &wakes
			}
		}
		out.Devices = append(out.Devices, shown)
	}
	if signals, newest := v.states.Summary(entry.ID); signals > 0 {
		out.Signals, out.LastSeen = signals, time.UnixMicro(newest).UTC().Format(time.RFC3339Nano)
	}
	return out
}

// SetActive implements api.Vehicles. A suspended vehicle is disconnected at once.
func (v views) SetActive(ctx context.Context, vid string, active bool) (bool, error) {
	entry, ok := v.registry.Vehicle(protocol.VehicleID(vid))
	if !ok {
		return false, nil
	}
	next := registry.Suspended
	if active {
		next = registry.Active
	}
	if err := v.registry.SetState(ctx, entry.ID, next); err != nil {
		return true, err
	}
	if !active {
		for _, d := range entry.Devices {
			v.broker.Disconnect(entry.ID, d.ID, ingest.CodeNotAuthorized)
		}
	}
	return true, nil
}

// State implements api.States.
func (v views) State(vid string) ([]api.Signal, bool) {
	if _, ok := v.registry.Vehicle(protocol.VehicleID(vid)); !ok {
		return nil, false
	}
	values := v.states.Values(protocol.VehicleID(vid))
	list := make([]api.Signal, len(values))
	for i, s := range values {
		list[i] = api.Signal{
			Bus: s.Bus, Message: s.Message, Name: s.Signal, Time: time.UnixMicro(s.Time).UTC(),
			Value: api.Number(s.Value), Quality: s.Quality, Text: s.Text, Unit: s.Unit,
		}
		if s.NoInteger {
			list[i].RawBits = new(uint64)
			*list[i].RawBits = uint64(s.Raw)
		} else {
			list[i].Raw = &values[i].Raw
		}
	}
	return list, true
}

// History implements api.States.
func (v views) History(vid, bus, message, signal string) ([]api.Point, bool) {
	points, ok := v.states.History(protocol.VehicleID(vid), state.Key{Bus: bus, Message: message, Signal: signal})
	list := make([]api.Point, len(points))
	for i, p := range points {
		list[i] = api.Point{Time: time.UnixMicro(p.Time).UTC(), Value: api.Number(p.Value)}
	}
	return list, ok
}

// Ledger implements api.Deliveries.
func (v views) Ledger(vid string) []api.Boot {
	accounts := make([][]ledger.Account, len(v.processors))
	for i, l := range v.processors {
		accounts[i] = l.Accounts(protocol.VehicleID(vid))
	}
	list := []api.Boot{}
	for _, a := range ledger.Merge(accounts...) {
		list = append(list, api.Boot{
			Device: string(a.Device), Boot: a.Boot.String(), Stored: a.Stored, Samples: a.Samples, Last: a.Highest,
			Gaps: pairs(a.Gaps), Evicted: pairs(a.Evicted), Stayed: pairs(a.Stayed), Dead: pairs(a.Buried), Duplicates: a.Duplicates,
		})
	}
	return list
}

func pairs(spans []ledger.Span) [][2]uint64 {
	list := make([][2]uint64, len(spans))
	for i, s := range spans {
		list[i] = [2]uint64{s.From, s.To}
	}
	return list
}

// schema gives a schema document, nil when there is none.
func (v views) schema(ctx context.Context, id string) ([]byte, error) {
	doc, err := v.schemas.find(ctx, id)
	if errors.Is(err, ingest.ErrSchemaNotFound) {
		return nil, nil
	}
	return doc, err
}

// healthWait is how long the backbone may take to answer.
const healthWait = 2 * time.Second

// health tells whether the cloud can store and process.
func (c *Cloud) health(ctx context.Context) api.Health {
	h := api.Health{Version: c.cfg.Version, Uptime: time.Since(c.started).Seconds()}
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	h.Problems = c.backbone.Refusals()
	if _, err := c.backbone.Info(ctx, backbone.Up); err != nil && h.Problems["backbone"] == "" {
		h.Problems["backbone"] = "it does not answer: " + err.Error()
	}
	for _, l := range c.processors {
		if l.Stats().Waiting {
			h.Problems["ingest"] = "processing waits for a stream, a store or the lake; see the log"
		}
		for _, s := range l.Consumers() {
			if s.Failing {
				h.Problems["consumer "+s.Name] = "it refuses a message, which is offered again; see the log"
			}
		}
	}
	h.OK = len(h.Problems) == 0
	return h
}
