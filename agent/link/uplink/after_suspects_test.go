package uplink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// strike has the server end connections while everything that waits is under way.
func (r *rig) strike(times int) {
	for range times {
		r.fill(2 * time.Hour)
		r.Disconnected(r.tokens, r.now)
		r.connect()
	}
}

// rest answers what is sent with the codes of each payload, the last of them for ever, until nothing is sent for two hours.
func (r *rig) rest(codes map[string][]byte) (stored []string) {
	for r.fill(0); ; {
		if len(r.tokens) == 0 {
			if len(r.fill(2*time.Hour)) == 0 && len(r.tokens) == 0 {
				return stored
			}
			continue
		}
		payload := string(r.got[len(r.got)-len(r.tokens)].Payload)
		code := byte(0)
		if list := codes[payload]; len(list) > 0 {
			if code = list[0]; len(list) > 1 {
				codes[payload] = list[1:]
			}
		}
		if code == 0 {
			stored = append(stored, payload)
		}
		r.answer(code)
		r.fill(0)
	}
}

// TestBehindSuspect: whatever becomes of an ordered record that is a suspect, those behind it go on the same connection, in order.
func TestBehindSuspect(t *testing.T) {
	for name, codes := range map[string][]byte{
		"stored":                      {0},
		"quota, then stored":          {0x97, 0},
		"error, then stored":          {0x80, 0x83, 0},
		"refused":                     {0x87},
		"refused again and again":     {0x80},
		"refused for a quota, for it": {0x97, 0x97, 0x99},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 8)
			r.add(protocol.CS4, "suspect", ordered, lasting)
			r.strike(4)
			var want []string
			if codes[len(codes)-1] == 0 {
				want = append(want, "suspect")
			}
			for i := range 5 {
				r.add(protocol.CS4, fmt.Sprint("behind ", i), ordered, lasting)
				want = append(want, fmt.Sprint("behind ", i))
			}
			got := r.rest(map[string][]byte{"suspect": codes})
			got = slices.DeleteFunc(got, func(s string) bool { return !strings.HasPrefix(s, "behind") && s != "suspect" })
			equal(t, "stored", got, want...)
		})
	}
}

// TestTooLargeSuspect: a suspect that is larger than another server takes holds up nobody, and is not tried again and again.
func TestTooLargeSuspect(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS4, strings.Repeat("x", 3000), ordered, lasting)
	r.strike(4)
	r.limits.MaxPacket = 1000
	r.connect()
	r.add(protocol.CS4, "behind", ordered, lasting)
	equal(t, "stored", r.rest(nil), "behind")
}

// TestSchemaOfSuspects: a schema that is a suspect is refused once and then stored: the records that need it go on the same connection.
func TestSchemaOfSuspects(t *testing.T) {
	r := newRig(t, 8)
	schema := r.schema("schema")
	for i := range 40 {
		r.add(protocol.CS4, fmt.Sprint(i), lasting, func(rec *buffer.Record) { rec.Schema = schema })
	}
	r.strike(4)
	if got := len(r.rest(map[string][]byte{"schema": {0x97, 0x80, 0}})); got != 41 {
		t.Errorf("got %d stored, want the schema and its 40 records", got)
	}
}

// TestSuspectWithSchema: a suspect whose schema goes before it goes alone all the same.
func TestSuspectWithSchema(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS4, "suspect", lasting)
	r.strike(4)
	schema := r.schema("schema")
	r.buf.classes[protocol.CS4][0].Record.Schema = schema
	for i := range 5 {
		r.add(protocol.CS1, fmt.Sprint(i), lasting)
	}
	r.connect()
	for r.fill(0); len(r.tokens) > 0; r.fill(time.Hour) {
		under := r.got[len(r.got)-len(r.tokens):]
		for _, p := range under {
			if string(p.Payload) == "suspect" && len(under) > 1 {
				t.Fatalf("the suspect is under way with %d others", len(under)-1)
			}
		}
		r.answer(0)
	}
	if waiting := len(r.buf.classes[protocol.CS4]) - len(r.buf.acked); waiting > 0 {
		t.Logf("%d acknowledged", len(r.buf.acked))
	}
}

// TestUrgentSuspectRests: a crash message rests for half a minute at most.
func TestUrgentSuspectRests(t *testing.T) {
	r := newRig(t, 8)
	r.add(protocol.CS6, "crash", lasting)
	r.strike(20)
	if got := r.fill(31 * time.Second); len(got) != 1 {
		t.Errorf("got %q after 31 s, want the crash message", got)
	}
}
