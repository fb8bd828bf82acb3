// Package fleet is a load generator: many light vehicles in one process, each on
// a TLS connection of its own, publishing with QoS 1 to a running cloud or to any
// other MQTT 5 broker, and measuring how long each acknowledgement takes.
//
// A light vehicle knows no bus, no buffer and no campaign. It connects, publishes
// a schema document and then batches of made-up signals (or random bytes), with a
// bounded number of them unacknowledged, and sends nothing twice. What a real
// agent does is the business of agent and simulator/world; faults on the way are
// those of simulator/fault.
//
//	Run ─┬─ vehicle 1: writer (publish, at its rate) ┐ places, one for each
//	     │             reader (PUBACK → histogram)   ┘ unacknowledged publish
//	     ├─ vehicle 2 …
//	     └─ progress, once a second
//
// A flooding vehicle ignores the rate and the window: it publishes whatever the
// broker's receive maximum lets through, also after it was refused.
package fleet
