package protocol

// Mode is how a rule samples; the words are those of schema documents.
type Mode string

// The modes.
const (
	ModeAll      Mode = "all"
	ModeGrid     Mode = "grid"
	ModeOnChange Mode = "onchange"
)
