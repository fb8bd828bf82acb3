package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// crossing is the payload of up/event/geofence: a vehicle entered or left a zone.
type crossing struct {
	Version int               `cbor:"v,required"` // 1
	Device  protocol.DeviceID `cbor:"did,required"`
	Zone    string            `cbor:"zone,required"`
	Inside  bool              `cbor:"inside,required"`
}

func (c *crossing) Sender() protocol.DeviceID { return c.Device }

func (c *crossing) Validate() error {
	if c.Version != 1 {
		return fmt.Errorf("version %d, expected 1", c.Version)
	}
	return protocol.CheckID("zone", c.Zone)
}

// fence is where a vehicle stands to a zone, and the live event of it.
type fence struct {
	Zone   string    `json:"zone"`
	Inside bool      `json:"inside"`
	Told   time.Time `json:"told"`
}

// fences is a room as a stranger would add it: it lives on what package cloud offers to every room.
type fences struct {
	ground backbone.Ground
	mu     sync.Mutex // guards what follows
	zones  map[protocol.VehicleID]map[string]fence
	taken  uint64
	refuse int               // so many offers are refused first
	drawn  map[string]string // zone → what operators say of it
}

func openFences(ctx context.Context, ground backbone.Ground) (*fences, error) {
	f := &fences{ground: ground, zones: map[protocol.VehicleID]map[string]fence{}, drawn: map[string]string{}}
	entries, err := ground.Store.List(ctx)
	for key, value := range entries {
		var zones map[string]fence
		err = errors.Join(err, json.Unmarshal(value, &zones))
		f.zones[protocol.VehicleID(key)] = zones
	}
	return f, err
}

func (f *fences) Takes() []backbone.Intake {
	return []backbone.Intake{backbone.Takes(topics.Event, "geofence", f.take)}
}

func (f *fences) take(ctx context.Context, from backbone.Origin, word crossing) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse > 0 {
		f.refuse--
		return errors.New("not now")
	}
	zones := maps.Clone(f.zones[from.Vehicle])
	if zones == nil {
		zones = map[string]fence{}
	}
	zones[word.Zone] = fence{word.Zone, word.Inside, from.Received.UTC()}
	value, err := json.Marshal(zones)
	if err == nil {
		err = f.ground.Store.Put(ctx, string(from.Vehicle), value)
	}
	if err != nil {
		return err
	}
	f.zones[from.Vehicle] = zones
	f.taken++
	f.ground.Tell(from.Vehicle, "geofence", zones[word.Zone])
	return nil
}

func (f *fences) Orders() []backbone.Order {
	return []backbone.Order{{Name: "geofence", Take: func(_ context.Context, id string, payload []byte, _ *backbone.Reply) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drawn[id] = string(payload)
		return nil
	}}}
}

// Results is for operators who subscribe later: the zones as they were drawn.
func (f *fences) Results() (list []backbone.Outgoing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, said := range f.drawn {
		topic := topics.Topic{Kind: topics.OpsResult, Name: "geofence", ID: id}
		list = append(list, backbone.Outgoing{Topic: topic, Payload: []byte(said), Kept: true})
	}
	return list
}

func (f *fences) Figures() []backbone.Figure {
	return []backbone.Figure{{Name: "crossings", Help: "Zones entered or left.", Value: func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(f.taken)
	}}}
}

func (f *fences) Events() map[string]any { return map[string]any{"geofence": fence{}} }

func (f *fences) Routes(api huma.API) {
	type input struct {
		VID string `path:"vid" maxLength:"64" doc:"vehicle identifier"`
	}
	type output struct{ Body []fence }
	huma.Get(api, "/v1/vehicles/{vid}/geofences", func(_ context.Context, in *input) (*output, error) {
		if !f.ground.Known(protocol.VehicleID(in.VID)) {
			return nil, huma.Error404NotFound("no vehicle with this identifier")
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		zones := f.zones[protocol.VehicleID(in.VID)]
		out := &output{Body: []fence{}}
		for _, name := range slices.Sorted(maps.Keys(zones)) {
			out.Body = append(out.Body, zones[name])
		}
		return out, nil
	})
}

func (f *fences) Forget(ctx context.Context, vid protocol.VehicleID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.zones, vid)
	return f.ground.Store.Delete(ctx, string(vid))
}
