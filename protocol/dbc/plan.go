package dbc

import (
	"fmt"
	"slices"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/signal"
)

// Source is what is known about one bus.
type Source struct {
	Bus   string  // its name, such as can0
	Files []*File // of messages with one identifier the last one counts
	// J1939: all 29-bit identifiers are matched by parameter group, also where VFrameFormat does not say so; priority
	// and source address are ignored, in the PDU1 format also the destination. When several messages have one
	// parameter group, the one with the frame's addresses counts, else the last one. Without J1939, only messages
	// of VFrameFormat J1939PG are matched so, and only frames that are not another message by their identifier.
	J1939 bool
}

// SignalInfo is one signal of a plan.
type SignalInfo struct {
	Bus     string
	Message string
	Frame   can.ID // of the message, as in the DBC file
	J1939   bool   // Frame stands for its parameter group
	*Signal
}

// Validity says whether a raw value is a measurement or a state.
func (s *SignalInfo) Validity(raw int64) signal.Validity {
	if !s.J1939 || s.Signed || s.IEEE != 0 {
		return signal.Valid
	}
	return signal.J1939(s.Length, raw, s.Text)
}

// MessageInfo is one message of a plan.
type MessageInfo struct {
	Bus      int  // position in the sources
	J1939    bool // matched by parameter group
	*Message      // without its signals of more than 64 bits
	First    int  // global index of its first signal; the others follow in the order of Signals
}

// Layout is one exact set of signals that arrive together: a message, what its
// multiplexors select, and how far the data reaches.
type Layout struct {
	Message int     // position in Plan.Messages
	Short   bool    // the frame ends before all the signals that were selected
	Signals []int32 // positions in Plan.Signals, in the order of the raw values; not to be changed
}

// What Decode gives instead of a layout.
const (
	Unknown   = -1 // no message has the frame's identifier
	Uncovered = -2 // the message is known, but the frame holds none of its signals
)

// Plan decodes the frames of several buses. It is not changed after Compile and may be used by many goroutines.
type Plan struct {
	buses      []string
	files      [][][32]byte // by bus: hashes of its files
	lookups    []lookup     // by bus
	messages   []MessageInfo
	signals    []SignalInfo
	layouts    []Layout
	maxSignals int
	long       []bool // by message: it comes by the transport protocol, too
	longBuses  []bool // by bus: one of its messages does

	roots    []int32 // by message: node, or path when it has no multiplexor
	nodes    []node
	paths    []path
	programs []program // by layout
}

// node is a multiplexor to look at in finding out which signals a frame holds.
// Where it leads to is another node, or, below zero, pathAt of the path that is then known.
type node struct {
	need     int32 // bytes of payload that the selector needs
	selector op
	starts   []uint64 // selector values from which on next counts, rising, the first 0; nil: next is by value
	next     []int32
	other    int32 // when the selector is not reached, or beyond next
}

// path is one way through the multiplexors: how a frame is decoded that goes it.
type path struct {
	program         // of whole frames
	layout  int32   // of whole frames; negative: they hold no signal
	cuts    []int32 // cuts[n]: layout of a payload of n bytes, at most can.MaxData, that is not whole
	steps   []step  // of longer payloads that are not whole, rising
}

// step is the layout of payloads of fewer bytes than below, and of at least as many as the step before says.
type step struct{ below, layout int32 }

// pathAt turns the position of a path into the form of node.next, and back.
func pathAt(n int32) int32 { return ^n }

// Buses gives the names of the buses in the order of the sources.
func (p *Plan) Buses() []string { return p.buses }

// Signals gives all signals; the position is the global index that layouts use. The slice is not to be changed.
func (p *Plan) Signals() []SignalInfo { return p.signals }

// Messages gives all messages that frames can be decoded as. The slice is not to be changed.
func (p *Plan) Messages() []MessageInfo { return p.messages }

// Layouts gives all layouts; the position is what Decode gives. The slice is not to be changed.
func (p *Plan) Layouts() []Layout { return p.layouts }

// MaxSignals gives the number of signals of the largest layout: how long raw must be for Decode.
func (p *Plan) MaxSignals() int { return p.maxSignals }

// MessageName gives the name of a layout's message, "" for Unknown and Uncovered.
func (p *Plan) MessageName(layout int) string {
	if layout < 0 || layout >= len(p.layouts) {
		return ""
	}
	return p.messages[p.layouts[layout].Message].Name
}

// Find gives the position in Messages of the message that a frame identifier stands for, or Unknown.
func (p *Plan) Find(bus int, id can.ID) int {
	if bus < 0 || bus >= len(p.lookups) {
		return Unknown
	}
	return int(p.lookups[bus].find(id))
}

// Decode takes the signals out of a frame of the bus with this position in the
// sources. It writes n raw values to raw, which holds at least MaxSignals, in the order of the layout's signals.
//
// The layout is Unknown when no message has the identifier (also for error frames and an unknown bus), Uncovered
// when the frame holds no signal of its message (also for remote frames). Decode allocates nothing.
func (p *Plan) Decode(bus int, f *can.Frame, raw []int64) (layout int, n int) {
	if uint(bus) >= uint(len(p.lookups)) || f.Flags&can.Error != 0 {
		return Unknown, 0
	}
	message := p.lookups[bus].find(f.ID)
	if message < 0 {
		return Unknown, 0
	}
	length := min(int32(f.Len), can.MaxData)
	if f.Flags&can.Remote != 0 {
		length = 0
	}
	at := p.roots[message]
	for at >= 0 {
		at = p.nodes[at].follow(f, length)
	}
	way := &p.paths[pathAt(at)]
	chosen, code := way.layout, &way.program
	if int(length) < len(way.cuts) {
		if chosen = way.cuts[length]; chosen >= 0 {
			code = &p.programs[chosen]
		}
	}
	if chosen < 0 {
		return Uncovered, 0
	}
	code.run(&f.Data, raw)
	return int(chosen), len(code.ops)
}

// Long says whether the bus with this position in the sources has J1939 messages of more than 8 bytes, which
// protocol/j1939 puts together for DecodeLong.
func (p *Plan) Long(bus int) bool { return uint(bus) < uint(len(p.longBuses)) && p.longBuses[bus] }

// DecodeLong is Decode for a J1939 message that came in parts (SAE J1939-21, 5.10): id is the identifier that a frame
// with it would have, whose priority does not count. The layout is Unknown when the message with this parameter group
// is not one of more than 8 bytes: one of at most 8 bytes is decoded from frames only.
func (p *Plan) DecodeLong(bus int, id can.ID, data []byte, raw []int64) (layout int, n int) {
	if !p.Long(bus) {
		return Unknown, 0
	}
	groups := p.lookups[bus]
	groups.plain = false
	message := groups.find(id)
	if message < 0 || !p.long[message] {
		return Unknown, 0
	}
	at := p.roots[message]
	for at >= 0 {
		at = p.nodes[at].followLong(data)
	}
	way := &p.paths[pathAt(at)]
	chosen := way.layout
	if len(data) < len(way.cuts) {
		chosen = way.cuts[len(data)]
	} else if i := slices.IndexFunc(way.steps, func(s step) bool { return len(data) < int(s.below) }); i >= 0 {
		chosen = way.steps[i].layout
	}
	if chosen < 0 {
		return Uncovered, 0
	}
	code := &p.programs[chosen]
	code.runLong(data, raw)
	return int(chosen), len(code.ops)
}

// follow gives the next node or path.
func (at *node) follow(f *can.Frame, length int32) int32 {
	if length < at.need {
		return at.other
	}
	return at.choose(uint64(at.selector.take(&f.Data)))
}

// followLong is follow for a message that came in parts.
func (at *node) followLong(data []byte) int32 {
	if len(data) < int(at.need) {
		return at.other
	}
	return at.choose(uint64(at.selector.takeLong(data)))
}

// choose gives the next node or path by the value of the selector.
func (at *node) choose(v uint64) int32 {
	if at.starts == nil {
		if v < uint64(len(at.next)) {
			return at.next[v]
		}
		return at.other
	}
	low, high := 0, len(at.starts) // starts[low] ≤ v < starts[high]
	for high-low > 1 {
		if mid := int(uint(low+high) >> 1); at.starts[mid] <= v {
			low = mid
		} else {
			high = mid
		}
	}
	return at.next[low]
}

// String says how large the plan is.
func (p *Plan) String() string {
	return fmt.Sprintf("%d messages, %d signals, %d layouts on %d buses", len(p.messages), len(p.signals), len(p.layouts), len(p.buses))
}
