// Package protocol holds the words that vehicle and cloud share: identifiers,
// priorities, presence and the words of a message.
//
// It is the ground floor. It imports nothing of this project but its own
// sub-packages, does no input or output, starts no goroutine and never asks
// what time it is; callers pass times in.
//
// What is said stands in rooms of its own: topics says where, campaigns, updates and events say
// what, document how any of them is written and answered, signed how a signature is made, principal
// who acts, delivery how each kind of message travels, and reasons why something is refused. Batches
// and their schemas are the business of protocol/batches and protocol/schemas, signals of protocol/signal, CAN frames of
// protocol/can, DBC files of protocol/dbc, update files of protocol/firmware.
package protocol
