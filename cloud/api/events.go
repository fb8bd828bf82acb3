package api

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"telltale.dev/cloud/backbone"
)

// Events is a run of samples that arrived together, in the order of time.
type Events []Event

// LostEvent says that the stream was read too slowly.
type LostEvent struct {
	Count uint64 `json:"count" doc:"samples and other events that this stream would have had here"`
}

// GapEvent says that a stream cannot go on where the client wants it to.
type GapEvent struct {
	LastEventID string `json:"last_event_id" doc:"what the client sent"`
	Detail      string `json:"detail"`
}

// eventKind is a kind of event of a stream.
type eventKind struct {
	name string
	data any
}

// eventKinds are those of the API's own and of the rooms, by name.
func (s *Server) eventKinds() []eventKind {
	kinds := []eventKind{{"state", Events{}}, {"presence", PresenceEvent{}}}
	for _, room := range s.cfg.Extensions.Events {
		for _, name := range slices.Sorted(maps.Keys(room)) {
			kinds = append(kinds, eventKind{name, room[name]})
		}
	}
	return append(kinds, eventKind{"lost", LostEvent{}}, eventKind{"gap", GapEvent{}})
}

type eventsInput struct {
	backbone.VehiclePath
	Signal      []string `query:"signal,explode" doc:"only samples of signals whose name matches this glob; may be repeated"`
	LastEventID string   `header:"Last-Event-ID" doc:"id of the last event that was received: the stream goes on behind it, or says with an event gap that it cannot"`
}

// eventRoutes streams live changes. What is sent first is the presence as it is, unless
// the stream goes on where another one ended; a change of it that happens meanwhile follows.
func (s *Server) eventRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "watch-vehicle", Method: http.MethodGet, Path: "/v1/vehicles/{vid}/events",
		Summary: "Every sample of the vehicle's signals, changes of presence, and lost data partitions, live (Server-Sent Events)",
		Errors:  []int{http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable}, Responses: s.eventResponses(api),
	}, s.events)
}

// events answers with a stream.
func (s *Server) events(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	if err := backbone.CheckGlobs(in.Signal); err != nil {
		return nil, huma.Error400BadRequest(err.Error())
	}
	if _, known := s.cfg.Presences(in.VID); !known {
		return nil, backbone.NoVehicle()
	}
	w, err := s.cfg.Live.watch(in.VID, in.Signal, in.LastEventID)
	if err != nil {
		return nil, huma.Error503ServiceUnavailable(err.Error())
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer s.cfg.Live.forget(w)
		r, to := humago.Unwrap(ctx)
		stream := newEventStream(to)
		presences, _ := s.cfg.Presences(in.VID) // asked again: from now on w has what changes
		if r.Method == http.MethodHead || stream.begin(presences, w) != nil {
			return
		}
		_ = stream.run(ctx.Context(), s.cfg.Live, w) // the client is gone
	}}, nil
}

// begin adds what comes before everything live.
func (e *eventStream) begin(presences []PresenceEvent, w *watcher) error {
	if w.gap != "" {
		if err := e.add("", "gap", GapEvent{cut(w.gap, maxEventID), "what came after this event is not there any more, or not all of it"}); err != nil {
			return err
		}
	}
	if w.resumed {
		return nil
	}
	for _, p := range presences {
		if err := e.add("", "presence", p); err != nil {
			return err
		}
	}
	return nil
}

// maxEventID is how much of an identifier that a client sent is repeated to it, in bytes.
const maxEventID = 64

func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// eventResponses describes the stream.
func (s *Server) eventResponses(api huma.API) map[string]*huma.Response {
	var kinds []*huma.Schema
	for _, k := range s.eventKinds() {
		kinds = append(kinds, &huma.Schema{
			Title: "Event " + k.name, Type: huma.TypeObject, Required: []string{"event", "data"},
			Properties: map[string]*huma.Schema{
				"id":    {Type: huma.TypeString, Description: "To send as Last-Event-ID when the stream was cut."},
				"event": {Type: huma.TypeString, Extensions: map[string]any{"const": k.name}},
				"data":  api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(k.data), true, k.name),
			},
		})
	}
	return map[string]*huma.Response{"200": {
		Description: "Events as text (https://html.spec.whatwg.org/multipage/server-sent-events.html), and a comment every 15 s without one.",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{
			Title: "Server Sent Events", Type: huma.TypeArray, Items: &huma.Schema{OneOf: slices.Clip(kinds)},
		}}},
	}}
}
