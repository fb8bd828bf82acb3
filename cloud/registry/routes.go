package registry

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
)

// Outlook is what others know of vehicles, and do with them. Every field is required.
type Outlook struct {
	Since time.Time // from when on presences are known
	// Presence gives a device's last word on its connection, and when it came; false: none since Since.
	Presence func(protocol.VehicleID, protocol.DeviceID) (protocol.Presence, time.Time, bool)
	// Signals counts those with a last known value, and gives the newest source time in µs since the Unix epoch.
	Signals func(protocol.VehicleID) (signals int, newest int64)
	// Disconnect ends the connection of a device that may not take part any more.
	Disconnect func(protocol.VehicleID, protocol.DeviceID)
	// DeleteEverywhere has everybody forget a vehicle; false when there is none.
	DeleteEverywhere func(context.Context, protocol.VehicleID) (known bool, err error)
	Log              *slog.Logger
}

// Desk is the Registry with its routes.
type Desk struct {
	*Registry
	Outlook
}

// vehicle is a registered vehicle and what is known of its connection, as the API shows it.
type vehicle struct {
	ID       string    `json:"vid" doc:"opaque vehicle identifier"`
	State    string    `json:"state" enum:"ACTIVE,SUSPENDED" doc:"lifecycle"`
	Since    time.Time `json:"registered"`
	Devices  []device  `json:"devices"`
	Signals  int       `json:"signals" doc:"signals with a last known value"`
	LastSeen string    `json:"last_sample,omitempty" doc:"source time of the newest sample, RFC 3339"`
}

// device is one telematics device, as the API shows it.
type device struct {
	ID       string    `json:"did"`
	Presence string    `json:"presence" enum:"unknown,online,asleep,offline,lost"`
	Since    time.Time `json:"since" doc:"when the cloud learned of it"`
	// Wakes is nil when the device did not say.
	Wakes *time.Time `json:"wakes,omitempty" doc:"when a device that is asleep said it would wake"`
	// Loss is nil when the device never told of one.
	Loss *loss `json:"data_lost,omitempty" doc:"the last time that the device lost what it had stored"`
}

// loss is a Loss, as the API shows it.
type loss struct {
	Storage string     `json:"storage" enum:"recreated,memory-only" doc:"what the device stores on since: a new partition, or only memory, which is lost with its power"`
	Reason  string     `json:"reason,omitempty" doc:"in the device's words"`
	Told    time.Time  `json:"told" doc:"when the cloud learned of it"`
	Over    *time.Time `json:"over,omitempty" doc:"when the device told that a later start found its data; absent: not since"`
}

type deleteInput struct {
	backbone.VehiclePath
	Confirm string `query:"confirm" maxLength:"64" doc:"the vehicle's identifier once more: without it nothing is deleted"`
}

type deleted struct {
	ID    string `json:"vid"`
	Stays string `json:"stays" doc:"what of the vehicle is kept"`
}

// stays is what a deletion leaves.
const stays = "its rows in the lake's Parquet files, schema documents, dead letters, and the delivery account that tells duplicates"

// Routes is an ability of rooms.
func (d *Desk) Routes(api huma.API) {
	huma.Get(api, "/v1/vehicles", func(_ context.Context, in *backbone.Page) (*backbone.Paged[vehicle], error) {
		list := []vehicle{}
		for _, v := range d.Vehicles() {
			list = append(list, d.show(v))
		}
		return backbone.Cut(list, func(v vehicle) string { return v.ID }, *in, "/v1/vehicles", nil)
	}, backbone.About("list-vehicles", "Registered vehicles with the presence of their devices, by identifier", http.StatusBadRequest))
	huma.Get(api, "/v1/vehicles/{vid}", func(_ context.Context, in *backbone.VehiclePath) (*backbone.Answer[vehicle], error) {
		v, ok := d.Vehicle(protocol.VehicleID(in.VID))
		if !ok {
			return nil, backbone.NoVehicle()
		}
		return &backbone.Answer[vehicle]{Body: d.show(v)}, nil
	}, backbone.About("get-vehicle", "One vehicle", http.StatusNotFound))
	huma.Get(api, "/v1/vehicles/{vid}/presence", func(_ context.Context, in *backbone.VehiclePath) (*backbone.Answer[[]device], error) {
		v, ok := d.Vehicle(protocol.VehicleID(in.VID))
		if !ok {
			return nil, backbone.NoVehicle()
		}
		return &backbone.Answer[[]device]{Body: d.show(v).Devices}, nil
	}, backbone.About("get-presence", "Presence of a vehicle's devices", http.StatusNotFound))
	huma.Delete(api, "/v1/vehicles/{vid}", d.delete, backbone.About("delete-vehicle", "Disconnect the vehicle and forget it: its devices, state, presence, updates, and its answers to campaigns. "+
		"Its rows in the lake stay. A device that may register itself, as in development, makes a new vehicle of it at its next connection",
		http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable), func(o *huma.Operation) { o.DefaultStatus = http.StatusOK })
	huma.Post(api, "/v1/vehicles/{vid}/suspend", func(ctx context.Context, in *backbone.VehiclePath) (*struct{}, error) {
		return nil, d.set(ctx, in.VID, Suspended)
	}, backbone.About("suspend-vehicle", "Disconnect the vehicle and refuse its messages until it is activated", http.StatusNotFound, http.StatusServiceUnavailable))
	huma.Post(api, "/v1/vehicles/{vid}/activate", func(ctx context.Context, in *backbone.VehiclePath) (*struct{}, error) {
		return nil, d.set(ctx, in.VID, Active)
	}, backbone.About("activate-vehicle", "Take the vehicle's messages again", http.StatusNotFound, http.StatusServiceUnavailable))
}

// set suspends or activates a vehicle. A suspended one is disconnected at once.
func (d *Desk) set(ctx context.Context, vid string, s Lifecycle) error {
	v, ok := d.Vehicle(protocol.VehicleID(vid))
	if !ok {
		return backbone.NoVehicle()
	}
	if err := d.SetState(ctx, v.ID, s); err != nil {
		return backbone.Failed(d.Log, "vehicle not changed", err)
	}
	if s == Suspended {
		for _, did := range v.Devices {
			d.Disconnect(v.ID, did.ID)
		}
	}
	return nil
}

func (d *Desk) delete(ctx context.Context, in *deleteInput) (*backbone.Answer[deleted], error) {
	if in.Confirm != in.VID {
		return nil, huma.Error400BadRequest("confirm: expected the vehicle's identifier once more: it is forgotten for good")
	}
	known, err := d.DeleteEverywhere(ctx, protocol.VehicleID(in.VID))
	switch {
	case err != nil:
		return nil, backbone.Failed(d.Log, "vehicle not deleted, or not all of it", err)
	case !known:
		return nil, backbone.NoVehicle()
	}
	return &backbone.Answer[deleted]{Body: deleted{in.VID, stays}}, nil
}

// EachPresence calls f with the presence of each device of a vehicle; false when there is no such vehicle.
func (d *Desk) EachPresence(vid protocol.VehicleID, f func(did, presence string, since time.Time)) bool {
	v, ok := d.Vehicle(vid)
	if ok {
		for _, d := range d.show(v).Devices {
			f(d.ID, d.Presence, d.Since)
		}
	}
	return ok
}

func (d *Desk) show(v Vehicle) vehicle {
	out := vehicle{ID: string(v.ID), State: string(v.State), Since: v.Registered, Devices: []device{}}
	for _, one := range v.Devices {
		shown := device{ID: string(one.ID), Presence: string(protocol.PresenceUnknown), Since: d.Since.UTC(), Loss: one.Loss.show()}
		if p, since, ok := d.Presence(v.ID, one.ID); ok {
			shown.Presence, shown.Since = string(p.State), since
			if p.State == protocol.PresenceAsleep && p.WakesAt != 0 {
				wakes := time.UnixMilli(p.WakesAt).UTC()
				shown.Wakes = &wakes
			}
		}
		out.Devices = append(out.Devices, shown)
	}
	if signals, newest := d.Signals(v.ID); signals > 0 {
		out.Signals, out.LastSeen = signals, time.UnixMicro(newest).UTC().Format(time.RFC3339Nano)
	}
	return out
}

// show gives nil for nil.
func (l *Loss) show() *loss {
	if l == nil {
		return nil
	}
	shown := &loss{Storage: string(l.State), Reason: l.Reason, Told: l.Told}
	if !l.Over.IsZero() {
		over := l.Over
		shown.Over = &over
	}
	return shown
}
