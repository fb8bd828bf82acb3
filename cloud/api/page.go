package api

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Page is the part of a list that is wanted. It is exported because huma passes over
// embedded types that are not.
type Page struct {
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" doc:"at most so many entries; 0, or left out: all. When there are more, the header Link names the next page (rel=\"next\")"`
	Cursor string `query:"cursor" maxLength:"4096" doc:"where the page begins, as the link to it has it"`
}

// pagedOutput is a list, or a part of it with a link to what follows.
type pagedOutput[T any] struct {
	Link string `header:"Link" doc:"address of the next page, rel=\"next\" (RFC 8288); absent on the last one"`
	Body []T
}

// page cuts a list that is sorted by key. An entry that is added or goes meanwhile
// neither hides another one nor shows it twice.
func page[T any](list []T, key func(T) string, p Page, path string, query url.Values) (*pagedOutput[T], error) {
	if p.Cursor != "" {
		after, err := base64.RawURLEncoding.DecodeString(p.Cursor)
		if err != nil {
			return nil, huma.Error400BadRequest("cursor: expected one of a link that this API gave")
		}
		from, found := slices.BinarySearchFunc(list, string(after), func(entry T, after string) int { return strings.Compare(key(entry), after) })
		if found {
			from++
		}
		list = list[from:]
	}
	out := &pagedOutput[T]{Body: list}
	if p.Limit > 0 && len(list) > p.Limit {
		out.Body = list[:p.Limit]
		next := url.Values{"limit": {strconv.Itoa(p.Limit)}, "cursor": {base64.RawURLEncoding.EncodeToString([]byte(key(out.Body[p.Limit-1])))}}
		for name, values := range query {
			next[name] = values
		}
		out.Link = nextLink(path, next)
	}
	return out, nil
}

// nextLink is the header Link to the next page.
func nextLink(path string, query url.Values) string {
	return "<" + path + "?" + query.Encode() + `>; rel="next"`
}

// vehiclePath is the address of something about a vehicle.
func vehiclePath(vid, what string) string { return "/v1/vehicles/" + url.PathEscape(vid) + "/" + what }
