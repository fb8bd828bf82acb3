package api

import (
	"math"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

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
