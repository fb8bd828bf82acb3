package dbc

import "telltale.dev/protocol/signal"

// Catalogue gives the plan's signals: sources, messages, signals and groups have the positions of buses, messages,
// signals and layouts of the plan. It is made anew at each call.
func (p *Plan) Catalogue() *signal.Catalogue {
	c := &signal.Catalogue{Signals: make([]signal.Signal, len(p.signals)), Groups: make([]signal.Group, len(p.layouts))}
	for i, bus := range p.buses {
		c.Sources = append(c.Sources, signal.Source{Kind: signal.CAN, Name: bus, Files: p.files[i]})
	}
	for i := range p.messages {
		m := &p.messages[i]
		c.Messages = append(c.Messages, signal.Message{Source: m.Bus, Name: m.Name, First: m.First, Count: len(m.Signals)})
	}
	for i := range p.signals {
		c.Signals[i] = p.signals[i].catalogued()
	}
	for i, l := range p.layouts {
		c.Groups[i] = signal.Group{Message: l.Message, Short: l.Short, Signals: l.Signals}
	}
	return c
}

// catalogued is the signal as a catalogue has it.
func (s *SignalInfo) catalogued() signal.Signal {
	out := signal.Signal{
		Kind: signal.CAN, Bus: s.Bus, Message: s.Message, Name: s.Name, Unit: s.Unit,
		Signed: s.Signed, IEEE: s.IEEE, Scale: s.Scale, Offset: s.Offset,
		CAN: &signal.Bits{ID: s.Frame, J1939: s.J1939, Start: s.Start, Length: s.Length, BigEndian: s.BigEndian},
	}
	if len(s.Values) > 0 {
		out.Values = make(map[int64]string, len(s.Values))
		for _, v := range s.Values {
			out.Values[v.Raw] = v.Text
		}
	}
	out.Prepare()
	return out
}
