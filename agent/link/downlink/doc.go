// Package downlink takes what the cloud sends to the vehicle, and brings it to
// the room that keeps its kind.
//
//	session ─► Receive ─► one writer: on disk, then PUBACK ─┬─► queue of a route ─► Take
//	                      in the order of arrival           ├─► queue of a route ─► Take
//	                                                        └─► refused: nobody takes it
//
// MQTT 5 wants acknowledgements in the order of arrival [MQTT-4.6.0-2], so nobody
// looks into a message before its PUBACK: the bytes are written to the inbox, which is a
// folder, and that is all. Each route has a queue and a goroutine of its own, so
// that one that takes long delays no other. A message leaves the inbox when its
// route has taken it; what is there after a restart, also after a crash, is taken then.
// So a message is taken once or more, and takers must bear a repetition.
//
// What nobody takes, what has no room and what cannot be written is refused, with a
// code of 0x80 or above. A message whose expiry is over is not taken, wherever it waits.
//
// It is not the place that knows what documents mean (agent/config, agent/update), or MQTT (session).
package downlink
