// Package session is one MQTT 5 connection of the device: it dials, over TLS or
// not, introduces the device with its will, keeps the connection alive, publishes
// with topic aliases, hands on the server's answers, subscribes, and hands on what
// comes in with its properties and its acknowledgement. When it ends it says why, in the words
// of who has to act (Explain). Probe tries all that once, for a person.
//
//	Dialer ─ Connect ─► Session ─┬─ Publish ─► window ─► Answers
//	                             ├─ Subscribe
//	                             └─ Config.Receive ◄─ inbound
//
// Nothing is remembered beyond a connection but TLS tickets. It does not use paho's own
// session state, queue or connection manager: they would resend, store or drop on
// their own account; see packets.go. It does not know what is published (uplink), what
// to do with what comes in (downlink), nor when to connect again (link).
package session
