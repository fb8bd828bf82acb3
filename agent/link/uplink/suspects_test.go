package uplink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
)

// deadly ends the connection when it is published.
const deadly = "deadly"

// live lets a connection send what it can, until it is ended by what is deadly; then there is another one. It gives the others' payloads.
func (r *rig) live(after time.Duration) (stored []string, ended bool) {
	for r.fill(after); len(r.tokens) > 0; r.fill(0) {
		under := r.got[len(r.got)-len(r.tokens):]
		for _, p := range under {
			if strings.HasPrefix(string(p.Payload), deadly) && !r.bears {
				r.Disconnected(r.tokens, r.now)
				r.connect()
				return stored, true
			}
		}
		for _, p := range under {
			stored = append(stored, string(p.Payload))
			r.answer(0)
		}
	}
	return stored, false
}

func lasting(rec *buffer.Record) { rec.TTL = 0 }

// TestSuspectRests: what ends each connection, whatever it is, rests for longer each time: others go meanwhile, and the device does not
// lose its connection for it again and again. When the server bears it after all it goes, too, with all that waited for it.
func TestSuspectRests(t *testing.T) {
	for name, add := range map[string]func(r *rig, text string){
		"records": func(r *rig, text string) {
			for i := range 40 {
				r.add(protocol.CS4, fmt.Sprint(text, i), lasting)
			}
		},
		"ordered records": func(r *rig, text string) {
			for i := range 40 {
				r.add(protocol.CS4, fmt.Sprint(text, i), lasting, ordered)
			}
		},
		"a schema document": func(r *rig, text string) {
			schema := r.schema(text)
			for i := range 40 {
				r.add(protocol.CS4, fmt.Sprint("of the schema", i), lasting, func(rec *buffer.Record) { rec.Schema = schema })
			}
		},
		"a message": func(r *rig, text string) {
			r.Uplink.Send(uplink.Message{Topic: "v1/anna/up/state", Class: protocol.CS3, QoS: 1, Newest: true, Payload: []byte(text)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 8)
			add(r, deadly)
			const minutes = 600
			ended, lastHour, good := 0, 0, 0
			for n := range minutes {
				r.add(protocol.CS4, "good")
				for again := true; again; {
					stored, lost := r.live(0)
					if again = lost; lost {
						ended++
					}
					if lost && n >= minutes-60 {
						lastHour++
					}
					good += len(stored)
				}
				r.now = r.now.Add(time.Minute)
			}
			t.Logf("%d connections were ended, %d in the last hour", ended, lastHour)
			if good != minutes || lastHour > 41 {
				t.Errorf("%d of %d others were stored, %d connections were ended in the last hour; want one for each suspect at most", good, minutes, lastHour)
			}
			r.bears = true
			r.live(time.Hour)
			r.connect()
			r.live(time.Hour)
			if waiting := len(r.buf.classes[protocol.CS4]) - len(r.buf.acked); waiting > 0 {
				t.Errorf("%d records wait when the server bears them", waiting)
			}
		})
	}
}
