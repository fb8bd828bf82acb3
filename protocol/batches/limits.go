package batches

import "errors"

// Limits of what is written and read. They bound the memory that a few bytes can ask for.
const (
	MaxRows    = 1 << 20 // rows of a batch
	MaxSamples = 1 << 22 // rows × columns that Decode takes, absent values included; MaxCells is what ends agree on
	MaxEvicted = 1024    // ranges declared in a batch
)

// maxTime is the earliest and latest time in µs before and after the Unix epoch: differences cannot overflow.
const maxTime = 1 << 61

// Errors that callers branch on. They are wrapped by errors that name the place.
var (
	// ErrSchema says that a batch belongs to another schema than the given one.
	ErrSchema = errors.New("not the batch's schema")
	// ErrRows says that rows given to an Encoder do not fit its schema.
	ErrRows = errors.New("rows do not fit the schema")
)
