// Package broker is the MQTT 5 door of the cloud: it asks the table of cloud/access who
// may connect, publish, subscribe and be given a message, and it acknowledges a publish
// only after the Handler has stored it.
//
// mochi-mqtt serves as the codec, unmodified. Everything that must not go wrong is ours, because
// its own delivery stalls, loses and reorders, and because its goroutines keep deep stacks for each
// connection:
//
//	TLS connection ── incoming.go: whole packets, checked against the standard (grammar.go)
//	      │         ── establish.go: CONNECT and CONNACK ───────────── connect.go    who, client id, will, session
//	      ▲         ── reader.go: decodes and resolves aliases ────┬─ uplink.go     authorise → Handler.Publish → PUBACK in order
//	      │                                                       │
//	      └── writer.go: one writer ◄──── session.go: queue ◄─────┴─ subscribe.go  filters, retained messages
//	                                            ▲
//	               Broker.Deliver to all who have subscribed, Broker.Send to one device, with its answer
//
// acl.go asks the table of access for each of these, and turns what it says into reason
// codes. Whoever takes a right away later calls Broker.Revoke.
//
// A session (its subscriptions, its queue in order, what is in flight) outlives
// connections until its expiry, in memory only. What must last beyond the
// process lives behind the Handler. A connection at rest has one goroutine, its reader,
// and no buffer.
//
// Presence is ordered by connection: the broker numbers connections, rising, and nothing
// that an old connection says counts once a newer one of the same device has spoken.
// It follows the connection and not only words: a device whose connection ends without
// an accepted last word is lost or offline, see presences.go.
// After a restart of the broker presence is unknown; the caller says so.
//
// What is special about this broker, for those who write clients: only presence is
// retained, other retained publishes end the connection with 0x9A; a publish that nobody
// would read is refused with 0x90; QoS 2 and shared subscriptions are not there; a client
// that sends beyond the receive maximum waits in its socket instead of getting DISCONNECT
// 0x93, because it would come back and do the same; a subscription that was revoked ends
// without a word, so that a client does well to subscribe at each connection.
//
// The package stores nothing, decodes no payload but presence, and knows no quota,
// consent or registry: those sit behind the Handler.
package broker
