package api

import (
	"context"
	"net/http"
	"path"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"telltale.dev/protocol"
)

// output is the answer of a route.
type output[T any] struct{ Body T }

// VehiclePath is the input of routes about one vehicle. It is exported because huma fills only exported fields, embedded ones too.
type VehiclePath struct {
	VID string `path:"vid" maxLength:"64" doc:"vehicle identifier"`
}

func (s *Server) routes(api huma.API) {
	s.vehicleRoutes(api)
	s.stateRoutes(api)
	s.deliveryRoutes(api)
	s.eventRoutes(api)
	s.schemaRoutes(api)
	huma.Get(api, "/v1/campaigns", func(context.Context, *struct{}) (*output[[]Campaign], error) {
		return &output[[]Campaign]{s.cfg.Campaigns()}, nil
	}, about("list-campaigns", "Campaigns in force"))
	huma.Get(api, "/v1/health", func(context.Context, *struct{}) (*healthOutput, error) {
		h := s.cfg.Health()
		out := &healthOutput{Status: http.StatusOK, Body: h}
		if !h.OK {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	}, about("health", "Whether the cloud can do its work (503 when not)"))
}

type schemaPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" doc:"start of the document's SHA-256, as batches carry it"`
}

type schemaOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *Server) schemaRoutes(api huma.API) {
	huma.Get(api, "/v1/schemas/{id}", func(ctx context.Context, in *schemaPath) (*schemaOutput, error) {
		doc, err := s.cfg.Schema(ctx, in.ID)
		if err == nil && doc == nil {
			return nil, huma.Error404NotFound("no schema with this identifier")
		}
		return &schemaOutput{ContentType: protocol.ContentSchema, Body: doc}, err
	}, about("get-schema", "A schema document: what the columns of a batch mean (CBOR)"))
}

type healthOutput struct {
	Status int
	Body   Health
}

func about(id, summary string) func(*huma.Operation) {
	return func(o *huma.Operation) { o.OperationID, o.Summary = id, summary }
}

func (s *Server) vehicleRoutes(api huma.API) {
	huma.Get(api, "/v1/vehicles", func(context.Context, *struct{}) (*output[[]Vehicle], error) {
		return &output[[]Vehicle]{s.cfg.Vehicles.Vehicles()}, nil
	}, about("list-vehicles", "Registered vehicles with the presence of their devices"))
	huma.Get(api, "/v1/vehicles/{vid}", func(_ context.Context, in *VehiclePath) (*output[Vehicle], error) {
		v, ok := s.cfg.Vehicles.Vehicle(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		return &output[Vehicle]{v}, nil
	}, about("get-vehicle", "One vehicle"))
	huma.Get(api, "/v1/vehicles/{vid}/presence", func(_ context.Context, in *VehiclePath) (*output[[]Device], error) {
		v, ok := s.cfg.Vehicles.Vehicle(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		return &output[[]Device]{v.Devices}, nil
	}, about("get-presence", "Presence of a vehicle's devices"))
	for _, action := range []struct {
		word   string
		active bool
	}{{"suspend", false}, {"activate", true}} {
		huma.Post(api, "/v1/vehicles/{vid}/"+action.word, func(ctx context.Context, in *VehiclePath) (*struct{}, error) {
			known, err := s.cfg.Vehicles.SetActive(ctx, in.VID, action.active)
			if err == nil && !known {
				return nil, unknownVehicle()
			}
			return nil, err
		}, about(action.word+"-vehicle", "Change whether the vehicle's messages are taken"))
	}
}

func unknownVehicle() error { return huma.Error404NotFound("no vehicle with this identifier") }

type stateInput struct {
	VehiclePath
	Signal string `query:"signal" maxLength:"128" doc:"only signals whose name matches this glob"`
}

type historyInput struct {
	VehiclePath
	Bus     string `query:"bus" required:"true" maxLength:"64"`
	Message string `query:"message" required:"true" maxLength:"128"`
	Signal  string `query:"signal" required:"true" maxLength:"128"`
}

func (s *Server) stateRoutes(api huma.API) {
	huma.Get(api, "/v1/vehicles/{vid}/state", func(_ context.Context, in *stateInput) (*output[[]Signal], error) {
		if _, err := path.Match(in.Signal, ""); err != nil {
			return nil, huma.Error400BadRequest("signal: expected a glob")
		}
		all, ok := s.cfg.States.State(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		kept := make([]Signal, 0, len(all))
		for _, sig := range all {
			if match, _ := path.Match(in.Signal, sig.Name); match || in.Signal == "" {
				kept = append(kept, sig)
			}
		}
		return &output[[]Signal]{kept}, nil
	}, about("get-state", "Last known value of each signal, by source time"))
	huma.Get(api, "/v1/vehicles/{vid}/history", func(_ context.Context, in *historyInput) (*output[[]Point], error) {
		points, ok := s.cfg.States.History(in.VID, in.Bus, in.Message, in.Signal)
		if !ok {
			return nil, huma.Error404NotFound("no such vehicle or signal")
		}
		return &output[[]Point]{points}, nil
	}, about("get-history", "Short history of a signal; the long one is in the lake"))
}

type deadLettersInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
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
	}, about("get-ledger", "Delivery account by device and boot"))
	huma.Get(api, "/v1/dead-letters", func(ctx context.Context, in *deadLettersInput) (*output[[]DeadLetter], error) {
		letters, err := s.cfg.Deliveries.DeadLetters(ctx, in.Limit)
		return &output[[]DeadLetter]{letters}, err
	}, about("list-dead-letters", "Stored messages that could not be decoded"))
	huma.Post(api, "/v1/dead-letters/replay", func(ctx context.Context, in *replayInput) (*output[replayed], error) {
		n, err := s.cfg.Deliveries.Replay(ctx, in.Reason)
		return &output[replayed]{replayed{n}}, err
	}, about("replay-dead-letters", "Feed dead letters in again"))
}

// Events is a run of live changes that arrived together.
type Events []Event

func (s *Server) eventRoutes(api huma.API) {
	sse.Register(api, huma.Operation{
		OperationID: "watch-vehicle", Method: http.MethodGet, Path: "/v1/vehicles/{vid}/events",
		Summary: "Live changes of signals and presence (Server-Sent Events)",
	}, map[string]any{"state": Events{}, "presence": PresenceEvent{}},
		func(ctx context.Context, in *VehiclePath, send sse.Sender) {
			if v, ok := s.cfg.Vehicles.Vehicle(in.VID); ok {
				for _, d := range v.Devices {
					if send.Data(PresenceEvent{Time: d.Since, Device: d.ID, Presence: d.Presence}) != nil {
						return
					}
				}
			}
			s.cfg.Live.watch(ctx, in.VID, send.Data)
		})
}
