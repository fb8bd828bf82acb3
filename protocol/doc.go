// Package protocol holds the words that vehicle and cloud share: identifiers,
// priorities, presence and the words of a message.
//
// It is the ground floor. It imports nothing of this project but its own
// sub-packages, does no input or output, starts no goroutine and never asks
// what time it is; callers pass times in.
//
// What is said stands in rooms of its own: topics for where, campaigns, updates and events for
// what, document for how any of them is written and answered, signed for who said it, reasons
// for why something is refused. Batches and their schemas are the business of protocol/codec, CAN frames of
// protocol/can, DBC files of protocol/dbc.
package protocol
