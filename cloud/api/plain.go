package api

import (
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// plainRoutes are those whose answers are no JSON of ours: metrics, and the
// description itself. They are in the description like all others.
func (s *Server) plainRoutes(mux humago.Mux, api huma.API) {
	for _, route := range []struct {
		path, id, summary, content string
		serve                      http.HandlerFunc
	}{
		{"/metrics", "metrics", "Counters in the text form of Prometheus", "text/plain", func(w http.ResponseWriter, r *http.Request) {
			s.cfg.Metrics.ServeHTTP(w, r)
		}},
		{"/openapi.yaml", "openapi-yaml", "This description", "application/yaml", func(w http.ResponseWriter, _ *http.Request) {
			text, err := api.OpenAPI().YAML()
			s.write(w, "application/yaml", text, err)
		}},
		{"/openapi.json", "openapi-json", "This description", "application/json", func(w http.ResponseWriter, _ *http.Request) {
			text, err := json.Marshal(api.OpenAPI())
			s.write(w, "application/json", text, err)
		}},
	} {
		api.OpenAPI().AddOperation(&huma.Operation{
			OperationID: route.id, Method: http.MethodGet, Path: route.path, Summary: route.summary,
			Responses: map[string]*huma.Response{"200": {
				Description: "OK", Content: map[string]*huma.MediaType{route.content: {Schema: &huma.Schema{Type: huma.TypeString}}},
			}},
		})
		mux.HandleFunc("GET "+route.path, route.serve)
	}
}

func (s *Server) write(w http.ResponseWriter, content string, text []byte, err error) {
	if err != nil {
		s.cfg.Log.Error("answer cannot be written", "err", err)
		problem(w, http.StatusInternalServerError, "see the log")
		return
	}
	w.Header().Set("Content-Type", content)
	_, _ = w.Write(text)
}
