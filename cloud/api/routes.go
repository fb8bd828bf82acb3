package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
)

type healthOutput struct {
	Status int
	Body   Health
}

func (s *Server) healthRoute(api huma.API) {
	huma.Get(api, "/v1/health", func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		h := s.cfg.Health(ctx)
		out := &healthOutput{Status: http.StatusOK, Body: h}
		if !h.OK {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	}, backbone.About("health", "Whether the cloud can do its work (503 when not)", http.StatusServiceUnavailable))
}
