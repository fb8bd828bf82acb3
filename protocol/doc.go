// Package protocol holds the words that vehicle and cloud share: identifiers,
// topics, priorities, documents and the reasons that both ends give.
//
// It is the ground floor. It imports nothing of this project but its own
// sub-packages, does no input or output, starts no goroutine and never asks
// what time it is; callers pass times in.
//
// Bytes are the business of protocol/codec, CAN frames of protocol/can, and
// DBC files of protocol/dbc.
package protocol
