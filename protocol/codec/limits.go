package codec

import "errors"

// Limits of what is written and read. They bound the memory that a few bytes can ask for.
const (
	MaxRows    = 1 << 20  // rows of a batch
	MaxColumns = 1 << 16  // columns of a batch, and signals or group members of a schema
	MaxSamples = 1 << 22  // rows × columns that Decode takes, absent values included; MaxBatchCells is what ends agree on
	MaxEvicted = 1024     // ranges declared in a batch
	MaxPlain   = 16 << 20 // bytes of a batch after decompression
)

// Limits of schemas.
const (
	MaxSchemaSize = 4 << 20 // bytes of a schema document
	MaxGroups     = 1 << 15 // groups of a schema
	maxName       = 512     // bytes of a name, unit or value text in a schema
	maxKind       = 32      // bytes of a signal's kind
	maxDecimal    = 64      // bytes of a scale or offset in a schema
	maxTick       = 60_000_000
	maxTime       = 1 << 61 // µs before and after the Unix epoch; differences cannot overflow
)

// Errors that callers branch on. They are wrapped by errors that name the place.
var (
	// ErrVersion says that bytes have a layout that this version cannot read.
	ErrVersion = errors.New("layout version not known")
	// ErrSchema says that a batch belongs to another schema than the given one.
	ErrSchema = errors.New("not the batch's schema")
	// ErrRows says that rows given to an Encoder do not fit its schema.
	ErrRows = errors.New("rows do not fit the schema")
)
