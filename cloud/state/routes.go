package state

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
)

// Signal is the last known value of a signal, as the API shows it.
type Signal struct {
	Bus     string          `json:"bus"`
	Message string          `json:"message"`
	Name    string          `json:"signal"`
	Time    time.Time       `json:"time" doc:"source time"`
	Value   backbone.Number `json:"value" doc:"physical value; null when it is not a number, or there is none: see quality"`
	Quality string          `json:"quality,omitempty" enum:"not_available,error" doc:"why there is no value, of a J1939 signal (SAE J1939-71); absent: there is one"`
	Raw     *int64          `json:"raw,omitempty" doc:"the integer on the bus; absent: see raw_bits"`
	RawBits *uint64         `json:"raw_bits,omitempty" doc:"what raw cannot hold: the bits of a float, 32 or 64 of them, and unsigned integers from 2^63 on"`
	Text    string          `json:"text,omitempty" doc:"from the value table"`
	Unit    string          `json:"unit,omitempty"`
}

// point is one value of a signal's history, as the API shows it.
type point struct {
	Time  time.Time       `json:"time"`
	Value backbone.Number `json:"value"`
}

type stateInput struct {
	backbone.VehiclePath
	backbone.Page
	Signal []string `query:"signal,explode" doc:"only signals whose name matches this glob; may be repeated"`
}

type historyInput struct {
	backbone.VehiclePath
	Bus     string    `query:"bus" required:"true" maxLength:"1024"`
	Message string    `query:"message" required:"true" maxLength:"1024"`
	Signal  string    `query:"signal" required:"true" maxLength:"1024"`
	From    time.Time `query:"from" doc:"only points of this source time or later (RFC 3339)"`
	To      time.Time `query:"to" doc:"only points before this source time (RFC 3339)"`
	Limit   int       `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"at most so many points: with from the first ones, else the last ones. When there are more, the header Link names those that follow, or come before (rel=\"next\")"`
}

// Routes is an ability of rooms.
func (r *Room) Routes(api huma.API) {
	huma.Get(api, "/v1/vehicles/{vid}/state", r.showState, backbone.About("get-state", "Last known value of each signal, by bus, message and signal",
		http.StatusBadRequest, http.StatusNotFound))
	huma.Get(api, "/v1/vehicles/{vid}/history", r.showHistory, backbone.About("get-history",
		"History of a signal over a day, in the order of source time: the newest 300 points at most one a second, before them one for each 30 s as far as an hour and for each 15 minutes as far as a day, all of them coarser for a vehicle of very many signals; the long one is in the lake",
		http.StatusBadRequest, http.StatusNotFound))
}

func (r *Room) showState(_ context.Context, in *stateInput) (*backbone.Paged[Signal], error) {
	if err := backbone.CheckGlobs(in.Signal); err != nil {
		return nil, huma.Error400BadRequest(err.Error())
	}
	vid := protocol.VehicleID(in.VID)
	if !r.ground.Known(vid) {
		return nil, backbone.NoVehicle()
	}
	wanted, kept := backbone.NewGlobs(in.Signal), []Signal{}
	for _, v := range r.Values(vid) {
		if wanted.Match(v.Signal) {
			kept = append(kept, v.shown())
		}
	}
	key := func(s Signal) string { return s.Bus + "\x00" + s.Message + "\x00" + s.Name }
	slices.SortFunc(kept, func(a, b Signal) int { return strings.Compare(key(a), key(b)) })
	var query url.Values
	if len(in.Signal) > 0 {
		query = url.Values{"signal": in.Signal}
	}
	return backbone.Cut(kept, key, in.Page, backbone.VehicleRoute(in.VID, "state"), query)
}

func (v *Value) shown() Signal {
	s := Signal{
		Bus: v.Bus, Message: v.Message, Name: v.Signal, Time: time.UnixMicro(v.Time).UTC(),
		Value: backbone.Number(v.Value), Quality: v.Quality, Text: v.Text, Unit: v.Unit,
	}
	if v.NoInteger {
		s.RawBits = new(uint64)
		*s.RawBits = uint64(v.Raw)
	} else {
		s.Raw = new(int64)
		*s.Raw = v.Raw
	}
	return s
}

// showHistory gives the points of a time span. With from, pages lead forward, else back in time.
func (r *Room) showHistory(_ context.Context, in *historyInput) (*backbone.Paged[point], error) {
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return nil, huma.Error400BadRequest("from: expected a time before to")
	}
	all, ok := r.History(protocol.VehicleID(in.VID), Key{Bus: in.Bus, Message: in.Message, Signal: in.Signal})
	if !ok {
		return nil, huma.Error404NotFound("no such vehicle or signal")
	}
	points := make([]point, 0, len(all))
	for _, p := range all {
		t := time.UnixMicro(p.Time).UTC()
		if !t.Before(in.From) && (in.To.IsZero() || t.Before(in.To)) {
			points = append(points, point{t, backbone.Number(p.Value)})
		}
	}
	out := &backbone.Paged[point]{Body: points}
	if len(points) <= in.Limit {
		return out, nil
	}
	next := url.Values{"bus": {in.Bus}, "message": {in.Message}, "signal": {in.Signal}, "limit": {strconv.Itoa(in.Limit)}}
	from, to := in.From, in.To
	if in.From.IsZero() {
		out.Body = points[len(points)-in.Limit:]
		to = out.Body[0].Time
	} else {
		out.Body = points[:in.Limit]
		from = points[in.Limit].Time
	}
	for name, t := range map[string]time.Time{"from": from, "to": to} {
		if !t.IsZero() {
			next.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	out.Link = backbone.NextPage(backbone.VehicleRoute(in.VID, "history"), next)
	return out, nil
}
