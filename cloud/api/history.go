package api

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

type historyInput struct {
	VehiclePath
	Bus     string    `query:"bus" required:"true" maxLength:"1024"`
	Message string    `query:"message" required:"true" maxLength:"1024"`
	Signal  string    `query:"signal" required:"true" maxLength:"1024"`
	From    time.Time `query:"from" doc:"only points of this source time or later (RFC 3339)"`
	To      time.Time `query:"to" doc:"only points before this source time (RFC 3339)"`
	Limit   int       `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"at most so many points: with from the first ones, else the last ones. When there are more, the header Link names those that follow, or come before (rel=\"next\")"`
}

// history gives the points of a time span. With from, pages lead forward, else back in time.
func (s *Server) history(_ context.Context, in *historyInput) (*pagedOutput[Point], error) {
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return nil, huma.Error400BadRequest("from: expected a time before to")
	}
	all, ok := s.cfg.States.History(in.VID, in.Bus, in.Message, in.Signal)
	if !ok {
		return nil, huma.Error404NotFound("no such vehicle or signal")
	}
	points := make([]Point, 0, len(all))
	for _, p := range all {
		if !p.Time.Before(in.From) && (in.To.IsZero() || p.Time.Before(in.To)) {
			points = append(points, p)
		}
	}
	out := &pagedOutput[Point]{Body: points}
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
	out.Link = nextLink(vehiclePath(in.VID, "history"), next)
	return out, nil
}
