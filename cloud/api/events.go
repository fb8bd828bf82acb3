package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"
)

// Events is a run of live changes that arrived together.
type Events []Event

// eventRoutes streams live changes. What is sent first is the presence as it is; a
// change of it that happens meanwhile follows.
func (s *Server) eventRoutes(api huma.API) {
	known := func(ctx huma.Context, next func(huma.Context)) {
		if _, ok := s.cfg.Vehicles.Vehicle(ctx.Param("vid")); !ok {
			_ = huma.WriteErr(api, ctx, http.StatusNotFound, "no vehicle with this identifier")
			return
		}
		next(ctx)
	}
	sse.Register(api, huma.Operation{
		OperationID: "watch-vehicle", Method: http.MethodGet, Path: "/v1/vehicles/{vid}/events",
		Summary: "Live changes of signals and presence, and lost data partitions (Server-Sent Events)",
		Errors:  []int{http.StatusNotFound}, Middlewares: huma.Middlewares{known},
	}, map[string]any{"state": Events{}, "presence": PresenceEvent{}, "storage": StorageEvent{}},
		func(ctx context.Context, in *VehiclePath, send sse.Sender) {
			w := s.cfg.Live.watch(in.VID)
			defer s.cfg.Live.forget(in.VID, w)
			v, _ := s.cfg.Vehicles.Vehicle(in.VID)
			for _, d := range v.Devices {
				if send.Data(PresenceEvent{Time: d.Since, Device: d.ID, Presence: d.Presence}) != nil {
					return
				}
			}
			w.follow(ctx, send.Data)
		})
}
