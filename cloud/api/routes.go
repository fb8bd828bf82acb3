package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/protocol"
)

// output is the answer of a route.
type output[T any] struct{ Body T }

// VehiclePath is the input of routes about one vehicle. It is exported because huma
// passes over embedded types that are not.
type VehiclePath struct {
	VID string `path:"vid" maxLength:"64" doc:"vehicle identifier"`
}

// about names an operation and the errors that its callers should expect.
func about(id, summary string, errors ...int) func(*huma.Operation) {
	return func(o *huma.Operation) { o.OperationID, o.Summary, o.Errors = id, summary, errors }
}

func unknownVehicle() error { return huma.Error404NotFound("no vehicle with this identifier") }

// failed is the answer when a room cannot do its work now; what is wrong is for the log.
func (s *Server) failed(what string, err error) error {
	s.cfg.Log.Error(what, "err", err)
	return huma.Error503ServiceUnavailable(what + "; see the log")
}

func (s *Server) vehicleRoutes(api huma.API) {
	huma.Get(api, "/v1/vehicles", func(_ context.Context, in *Page) (*pagedOutput[Vehicle], error) {
		return page(s.cfg.Vehicles.Vehicles(), func(v Vehicle) string { return v.ID }, *in, "/v1/vehicles", nil)
	}, about("list-vehicles", "Registered vehicles with the presence of their devices, by identifier", http.StatusBadRequest))
	huma.Get(api, "/v1/vehicles/{vid}", func(_ context.Context, in *VehiclePath) (*output[Vehicle], error) {
		v, ok := s.cfg.Vehicles.Vehicle(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		return &output[Vehicle]{v}, nil
	}, about("get-vehicle", "One vehicle", http.StatusNotFound))
	huma.Get(api, "/v1/vehicles/{vid}/presence", func(_ context.Context, in *VehiclePath) (*output[[]Device], error) {
		v, ok := s.cfg.Vehicles.Vehicle(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		return &output[[]Device]{v.Devices}, nil
	}, about("get-presence", "Presence of a vehicle's devices", http.StatusNotFound))
	s.deleteRoute(api)
	for _, action := range []struct {
		word    string
		active  bool
		summary string
	}{
		{"suspend", false, "Disconnect the vehicle and refuse its messages until it is activated"},
		{"activate", true, "Take the vehicle's messages again"},
	} {
		huma.Post(api, "/v1/vehicles/{vid}/"+action.word, func(ctx context.Context, in *VehiclePath) (*struct{}, error) {
			known, err := s.cfg.Vehicles.SetActive(ctx, in.VID, action.active)
			switch {
			case err != nil:
				return nil, s.failed("vehicle not changed", err)
			case !known:
				return nil, unknownVehicle()
			}
			return nil, nil
		}, about(action.word+"-vehicle", action.summary, http.StatusNotFound, http.StatusServiceUnavailable))
	}
}

type deleteInput struct {
	VehiclePath
	Confirm string `query:"confirm" maxLength:"64" doc:"the vehicle's identifier once more: without it nothing is deleted"`
}

type deleted struct {
	ID    string `json:"vid"`
	Stays string `json:"stays" doc:"what of the vehicle is kept"`
}

// stays is what a deletion leaves.
const stays = "its rows in the lake's Parquet files, schema documents, dead letters, and the delivery account that tells duplicates"

// deleteRoute is the end of a vehicle.
func (s *Server) deleteRoute(api huma.API) {
	huma.Delete(api, "/v1/vehicles/{vid}", func(ctx context.Context, in *deleteInput) (*output[deleted], error) {
		if in.Confirm != in.VID {
			return nil, huma.Error400BadRequest("confirm: expected the vehicle's identifier once more: it is forgotten for good")
		}
		known, err := s.cfg.Vehicles.DeleteVehicle(ctx, in.VID)
		switch {
		case err != nil:
			return nil, s.failed("vehicle not deleted, or not all of it", err)
		case !known:
			return nil, unknownVehicle()
		}
		s.cfg.Live.End(in.VID)
		return &output[deleted]{deleted{in.VID, stays}}, nil
	}, about("delete-vehicle", "Disconnect the vehicle and forget it: its devices, state, presence, updates, and its answers to campaigns. "+
		"Its rows in the lake stay. A device that may register itself, as in development, makes a new vehicle of it at its next connection",
		http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable), func(o *huma.Operation) { o.DefaultStatus = http.StatusOK })
}

type stateInput struct {
	VehiclePath
	Page
	Signal []string `query:"signal,explode" doc:"only signals whose name matches this glob; may be repeated"`
}

func (s *Server) stateRoutes(api huma.API) {
	huma.Get(api, "/v1/vehicles/{vid}/state", func(_ context.Context, in *stateInput) (*pagedOutput[Signal], error) {
		if err := checkGlobs(in.Signal); err != nil {
			return nil, huma.Error400BadRequest(err.Error())
		}
		all, ok := s.cfg.States.State(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		wanted := newFilter(in.Signal)
		kept := make([]Signal, 0, len(all))
		for _, sig := range all {
			if wanted.match(sig.Name) {
				kept = append(kept, sig)
			}
		}
		key := func(sig Signal) string { return sig.Bus + "\x00" + sig.Message + "\x00" + sig.Name }
		slices.SortFunc(kept, func(a, b Signal) int { return strings.Compare(key(a), key(b)) })
		var query url.Values
		if len(in.Signal) > 0 {
			query = url.Values{"signal": in.Signal}
		}
		return page(kept, key, in.Page, vehiclePath(in.VID, "state"), query)
	}, about("get-state", "Last known value of each signal, by bus, message and signal", http.StatusBadRequest, http.StatusNotFound))
	huma.Get(api, "/v1/vehicles/{vid}/history", s.history, about("get-history",
		"History of a signal over a day, in the order of source time: the newest 300 points at most one a second, before them one for each 30 s as far as an hour and for each 15 minutes as far as a day, all of them coarser for a vehicle of very many signals; the long one is in the lake",
		http.StatusBadRequest, http.StatusNotFound))
}

type deadLettersInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many of the newest"`
}

type replayInput struct {
	Reason string `query:"reason" maxLength:"64" doc:"only letters with this reason; empty: all"`
}

type replayed struct {
	Replayed int `json:"replayed" doc:"letters fed in again"`
}

func (s *Server) deliveryRoutes(api huma.API) {
	huma.Get(api, "/v1/vehicles/{vid}/ledger", func(_ context.Context, in *VehiclePath) (*output[[]Boot], error) {
		if _, ok := s.cfg.Vehicles.Vehicle(in.VID); !ok {
			return nil, unknownVehicle()
		}
		return &output[[]Boot]{s.cfg.Deliveries.Ledger(in.VID)}, nil
	}, about("get-ledger", "Delivery account by device and boot", http.StatusNotFound))
	huma.Get(api, "/v1/dead-letters", func(ctx context.Context, in *deadLettersInput) (*output[[]DeadLetter], error) {
		letters, err := s.cfg.Deliveries.DeadLetters(ctx, in.Limit)
		if err != nil {
			return nil, s.failed("dead letters cannot be read", err)
		}
		return &output[[]DeadLetter]{letters}, nil
	}, about("list-dead-letters", "Stored messages that could not be decoded, oldest first", http.StatusServiceUnavailable))
	huma.Post(api, "/v1/dead-letters/replay", func(ctx context.Context, in *replayInput) (*output[replayed], error) {
		n, err := s.cfg.Deliveries.Replay(ctx, in.Reason)
		if err != nil {
			return nil, s.failed("dead letters not replayed, or not all", err)
		}
		return &output[replayed]{replayed{n}}, nil
	}, about("replay-dead-letters", "Feed dead letters in again; what is stored by now is not stored twice", http.StatusServiceUnavailable))
}

type deadLetterPath struct {
	Sequence uint64 `path:"sequence" doc:"of the letter"`
}

type dismissInput struct {
	Reason string `query:"reason" required:"true" minLength:"1" maxLength:"64" doc:"only letters with this reason; ALL: all"`
}

type dismissed struct {
	Dismissed int `json:"dismissed" doc:"letters deleted"`
}

func (s *Server) dismissRoutes(api huma.API) {
	letters, ok := s.cfg.Deliveries.(Dismisser)
	huma.Delete(api, "/v1/dead-letters/{sequence}", func(ctx context.Context, in *deadLetterPath) (*struct{}, error) {
		found := false
		if ok {
			var err error
			if found, err = letters.Dismiss(ctx, in.Sequence); err != nil {
				return nil, s.failed("dead letter not dismissed", err)
			}
		}
		if !found {
			return nil, huma.Error404NotFound("no such dead letter")
		}
		return nil, nil
	}, about("dismiss-dead-letter", "Delete a dead letter; the ledger goes on counting its message among the dead", http.StatusNotFound, http.StatusServiceUnavailable))
	huma.Delete(api, "/v1/dead-letters", func(ctx context.Context, in *dismissInput) (*output[dismissed], error) {
		reason := in.Reason
		if reason == "ALL" {
			reason = ""
		}
		n := 0
		if ok {
			var err error
			if n, err = letters.DismissAll(ctx, reason); err != nil {
				return nil, s.failed("dead letters not dismissed, or not all", err)
			}
		}
		return &output[dismissed]{dismissed{n}}, nil
	}, about("dismiss-dead-letters", "Delete the dead letters with a reason; the ledger goes on counting their messages among the dead", http.StatusServiceUnavailable))
}

type schemaPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" doc:"start of the document's SHA-256, as batches carry it"`
}

type schemaOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type healthOutput struct {
	Status int
	Body   Health
}

func (s *Server) otherRoutes(api huma.API) {
	huma.Get(api, "/v1/schemas/{id}", func(ctx context.Context, in *schemaPath) (*schemaOutput, error) {
		doc, err := s.cfg.Schema(ctx, in.ID)
		switch {
		case err != nil:
			return nil, s.failed("schema cannot be read", err)
		case doc == nil:
			return nil, huma.Error404NotFound("no schema with this identifier")
		}
		return &schemaOutput{ContentType: protocol.ContentSchema, Body: doc}, nil
	}, about("get-schema", "A schema document: what the columns of a batch mean (CBOR)", http.StatusNotFound, http.StatusServiceUnavailable))
	s.campaignRoutes(api)
	huma.Get(api, "/v1/health", func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		h := s.cfg.Health(ctx)
		out := &healthOutput{Status: http.StatusOK, Body: h}
		if !h.OK {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	}, about("health", "Whether the cloud can do its work (503 when not)", http.StatusServiceUnavailable))
}
