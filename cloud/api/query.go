package api

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// queries are the query parameters of each route, by its pattern, and whether they may
// be repeated. They come from the description, so that no route can forget its own.
type queries map[string]map[string]bool

// queriesOf reads them from the description.
func queriesOf(description *huma.OpenAPI) queries {
	known := queries{}
	for path, item := range description.Paths {
		for method, op := range map[string]*huma.Operation{
			"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete, "PATCH": item.Patch,
		} {
			if op == nil {
				continue
			}
			names := map[string]bool{}
			for _, p := range op.Parameters {
				if p.In == "query" {
					names[p.Name] = p.Schema != nil && p.Schema.Type == huma.TypeArray
				}
			}
			known[method+" "+path] = names
		}
	}
	return known
}

// check refuses what a route would not look at: an unknown parameter, and one that is
// given twice when only the first would count.
func (q queries) check(pattern, raw string) error {
	if raw == "" {
		return nil
	}
	given, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("query: expected name=value pairs joined by &, percent-encoded")
	}
	names := q[pattern]
	for _, name := range slices.Sorted(maps.Keys(given)) {
		repeatable, ok := names[name]
		switch {
		case !ok && len(names) == 0:
			return fmt.Errorf("query parameter %.64q is not known; this route takes none", name)
		case !ok:
			return fmt.Errorf("query parameter %.64q is not known; this route takes %s", name, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
		case len(given[name]) > 1 && !repeatable:
			return fmt.Errorf("query parameter %s: expected once", name)
		}
	}
	return nil
}
