package backbone

import (
	"encoding/base64"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// What the routes of rooms share, so that the API looks the same everywhere.

// VehiclePath is the input of routes about one vehicle. Huma passes over embedded types that are not exported.
type VehiclePath struct {
	VID string `path:"vid" maxLength:"64" doc:"vehicle identifier"`
}

// VehicleRoute is the address of something about a vehicle.
func VehicleRoute(vid, what string) string { return "/v1/vehicles/" + url.PathEscape(vid) + "/" + what }

// NoVehicle is the answer of routes about one vehicle when there is none.
func NoVehicle() error { return huma.Error404NotFound("no vehicle with this identifier") }

// Answer is what a route gives.
type Answer[T any] struct{ Body T }

// About names an operation, and the errors that its callers should expect.
func About(id, summary string, errors ...int) func(*huma.Operation) {
	return func(o *huma.Operation) { o.OperationID, o.Summary, o.Errors = id, summary, errors }
}

// Failed is the answer when a room cannot do its work now; what is wrong is for the log.
func Failed(log *slog.Logger, what string, err error) error {
	log.Error(what, "err", err)
	return huma.Error503ServiceUnavailable(what + "; see the log")
}

// Page is the input of routes that give a list: the part of it that is wanted.
type Page struct {
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" doc:"at most so many entries; 0, or left out: all. When there are more, the header Link names the next page (rel=\"next\")"`
	Cursor string `query:"cursor" maxLength:"4096" doc:"where the page begins, as the link to it has it"`
}

// Paged is a list, or a part of it with a link to what follows.
type Paged[T any] struct {
	Link string `header:"Link" doc:"address of the next page, rel=\"next\" (RFC 8288); absent on the last one"`
	Body []T
}

// Cut gives a page of a list that is sorted by key; path and query are those of the route. An entry that is added or
// goes meanwhile neither hides another one nor shows it twice.
func Cut[T any](list []T, key func(T) string, p Page, path string, query url.Values) (*Paged[T], error) {
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
	out := &Paged[T]{Body: list}
	if p.Limit > 0 && len(list) > p.Limit {
		out.Body = list[:p.Limit]
		next := url.Values{"limit": {strconv.Itoa(p.Limit)}, "cursor": {base64.RawURLEncoding.EncodeToString([]byte(key(out.Body[p.Limit-1])))}}
		for name, values := range query {
			next[name] = values
		}
		out.Link = NextPage(path, next)
	}
	return out, nil
}

// NextPage is the header Link to the next page.
func NextPage(path string, query url.Values) string {
	return "<" + path + "?" + query.Encode() + `>; rel="next"`
}

// Number is a float64 that JSON can carry: NaN and the infinities, which IEEE
// signals may hold, are written as null.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
}

// Schema implements huma.SchemaProvider.
func (Number) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeNumber, Nullable: true, Format: "double"}
}
