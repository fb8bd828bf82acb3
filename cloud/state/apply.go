package state

import (
	"math"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	signals "telltale.dev/protocol/signal" // this package has signals of its own
)

// maxBindings bounds the schemas whose signals are looked up already, per vehicle; beyond it all are looked up anew.
const maxBindings = 32

// Apply takes a batch decoded by schema. With report it returns the values that
// the batch made newest, each once, in no particular order.
//
// The work per column does not depend on its number of rows, as far as that can
// be: rows are nearly always in the order of time, so that the newest one and
// those for the history are found by searching.
func (s *States) Apply(vid protocol.VehicleID, schema *schemas.Schema, b *batches.Batch, received time.Time, report bool) []Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicle(vid)
	v.dirty = true
	s.applied++
	bound := v.bind(b.Schema, len(schema.Signals))
	limit := received.Add(MaxAhead).UnixMicro()
	changed := s.changed[:0]
	defer func() { s.changed = changed[:0] }()
	for i := range b.Rows {
		g := &b.Rows[i]
		s.rows.set(g.Time, limit)
		s.stats.Ahead += uint64(len(g.Time) - len(s.rows.times))
		for c, index := range schema.Groups[g.Group] {
			last := s.rows.column(g, c)
			if last < 0 {
				continue
			}
			def := &schema.Signals[index]
			sig := bound[index]
			if sig == nil {
				if sig = s.signal(v, Key{Bus: def.Bus, Message: def.Message, Signal: def.Name}, def.Unit); sig == nil {
					s.stats.Unkept++
					continue
				}
				bound[index] = sig
			}
			s.chart(v, sig, def, g.Columns[c])
			if sig.apply(def, g.Columns[c], &s.rows, last) && sig.changed != s.applied {
				sig.changed = s.applied
				changed = append(changed, sig)
				v.updated = max(v.updated, sig.Time)
			}
		}
	}
	s.settle(v)
	if !report {
		return nil
	}
	list := make([]Value, len(changed))
	for i, sig := range changed {
		list[i] = sig.Value
	}
	return list
}

// bind gives the table from the schema's signals to ours, with holes for those that never came.
func (v *vehicle) bind(id protocol.SchemaID, signals int) []*signal {
	bound := v.bindings[id]
	if len(bound) != signals {
		if len(v.bindings) >= maxBindings {
			clear(v.bindings)
		}
		bound = make([]*signal, signals)
		v.bindings[id] = bound
	}
	return bound
}

// apply takes the column that r stands at, whose last value is at last, and says
// whether that became the signal's value.
func (sig *signal) apply(def *signals.Signal, column []int64, r *rows, last int) bool {
	if r.times[last] < sig.Time {
		return false
	}
	raw := column[r.row(last)]
	sig.Time, sig.Unit = r.times[last], def.Unit
	if sig.Raw, sig.NoInteger = raw, false; def.IEEE != 0 || raw < 0 { // the usual integer costs nothing
		number := def.Number()
		if _, ok := number.Integer(raw); !ok {
			sig.Raw, sig.NoInteger = int64(number.Bits(raw)), true
		}
	}
	sig.Value.Value, sig.Quality = valueOf(def, raw)
	if sig.Text, _ = def.Text(raw); len(sig.Text) > MaxText {
		sig.Text = ""
	}
	return true
}

// valueOf gives the physical value, or NaN and why there is none.
func valueOf(def *signals.Signal, raw int64) (value float64, quality string) {
	if v := def.Validity(raw); v != signals.Valid {
		return math.NaN(), v.String()
	}
	return def.Physical(raw), ""
}

// chart puts the values of the column that the rows stand at into the history, as far as they keep its spacing.
func (s *States) chart(v *vehicle, sig *signal, def *signals.Signal, column []int64) {
	if v.level == lastLevel {
		return
	}
	r, spacing := &s.rows, spacing(v.level)
	for i := r.next(0); i < len(r.times); {
		t := r.times[i]
		if due := sig.history.due(t, spacing); due > t {
			i = r.next(r.search(i+1, due))
			continue
		}
		value, _ := valueOf(def, column[r.row(i)])
		s.remember(v, sig, Point{Time: t, Value: value})
		i = r.next(i + 1)
	}
}

// remember adds a point, which is due, to a history.
func (s *States) remember(v *vehicle, sig *signal, p Point) {
	had := cap(sig.history.points)
	sig.history.add(p, v.level)
	s.charge(v, cap(sig.history.points)-had)
}
