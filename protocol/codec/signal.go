package codec

import "telltale.dev/protocol/signal"

// Signal says what a column's raw values mean and where they came from.
type Signal = signal.Signal
