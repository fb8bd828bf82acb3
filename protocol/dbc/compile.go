package dbc

import (
	"fmt"
	"slices"

	"telltale.dev/protocol/can"
)

// Limits of a plan. A message beyond them is compiled without its multiplexed signals, and named.
const (
	maxPaths      = 4096    // ways through the multiplexors of one message
	maxReferences = 1 << 19 // signals in all these ways together
	maxAll        = 1 << 22 // the same for the whole plan
	maxDepth      = 64      // multiplexors that one frame depends on
	// maxCutReferences bounds the layouts of messages that end early and behind can.MaxData bytes. Beyond it such a
	// message is decoded as far as the next shorter layout, or wholly.
	maxCutReferences = 1 << 13
)

// Compile lays out the messages of all buses. Sources are in bus order: the bus index is the position.
// Problems name messages that cannot be decoded, or not wholly. The error says which source is not usable at all.
func Compile(sources []Source) (*Plan, []Problem, error) {
	c := &compiler{plan: &Plan{}}
	for i, s := range sources {
		if s.Bus == "" {
			return nil, nil, fmt.Errorf("source %d: expected the name of a bus", i)
		}
		if slices.Contains(c.plan.buses, s.Bus) {
			return nil, nil, fmt.Errorf("source %d: expected each bus once, got %q again", i, s.Bus)
		}
		c.plan.buses = append(c.plan.buses, s.Bus)
		c.plan.files = append(c.plan.files, hashes(s.Files))
		c.plan.longBuses = append(c.plan.longBuses, false)
		c.source(i, s)
	}
	return c.plan, c.all(), nil
}

func hashes(files []*File) (list [][32]byte) {
	for _, f := range files {
		list = append(list, f.Hash)
	}
	return list
}

// compiler builds a plan.
type compiler struct {
	plan *Plan
	problems
	references int // signals in all ways through multiplexors so far
}

// chosen is a message that takes part, with its key in the lookup.
type chosen struct {
	message *Message
	file    *File
	key     uint32
	group   uint32 // J1939: parameter group
	byGroup bool
}

// source adds one bus.
func (c *compiler) source(bus int, s Source) {
	list := c.choose(s)
	groups := map[uint32]int{}
	for _, m := range list {
		if m.byGroup {
			groups[m.group]++
		}
	}
	standard, extended := map[uint32]int32{}, map[uint32]int32{}
	for _, m := range list {
		c.message(bus, s, m)
		index := int32(len(c.plan.messages)) // position + 1
		switch {
		case !m.message.ID.IsExtended():
			standard[m.key] = index
		case !m.byGroup:
			extended[m.key] = index
		case groups[m.group] == 1:
			extended[m.group] = index
		default:
			extended[m.key] = index
			extended[m.group] = -index
		}
	}
	c.plan.lookups = append(c.plan.lookups, newLookup(standard, extended, len(groups) > 0, !s.J1939))
}

// choose gives the messages of a bus, each key once: of equal ones the last. A message that is lost takes part
// without signals.
func (c *compiler) choose(s Source) []chosen {
	var list []chosen
	at := map[uint64]int{} // key and format to position in list
	for _, f := range s.Files {
		for _, m := range f.all() {
			if m.ID.Number() > uint32(can.ExtendedMask) || !m.ID.IsExtended() && m.ID > can.StandardMask {
				continue // Parse named it
			}
			n := chosen{message: m, file: f, key: m.ID.Number()}
			if m.ID.IsExtended() {
				n.byGroup, n.group = s.J1939 || m.J1939, m.ID.PGN()
				n.key |= plainKey
			}
			if n.byGroup {
				n.key = exactKey | n.key&withoutPrior
			}
			unique := uint64(n.key)
			if m.ID.IsExtended() {
				unique |= 1 << 32
			}
			if i, again := at[unique]; again {
				if list[i].file != f {
					c.add(f.Name, 0, false, "identifier 0x%X of bus %s in one file only; message %s replaces %s of %s",
						m.ID.Number(), s.Bus, clip(m.Name), clip(list[i].message.Name), list[i].file.Name)
				}
				list[i] = n
				continue
			}
			at[unique] = len(list)
			list = append(list, n)
		}
	}
	return list
}

// all gives the messages of a file with empty ones in the places of those that are lost.
func (f *File) all() []*Message {
	if len(f.lost) == 0 {
		return f.Messages
	}
	var list []*Message
	from := 0
	for _, l := range f.lost {
		list = append(list, f.Messages[from:l.before]...)
		list = append(list, &Message{ID: identifierOf(l.number), Name: fmt.Sprintf("lost_%X", l.number)})
		from = l.before
	}
	return append(list, f.Messages[from:]...)
}

// message adds one message with its signals and layouts.
func (c *compiler) message(bus int, s Source, m chosen) {
	p := c.plan
	m.message = decodable(m.message)
	p.messages = append(p.messages, MessageInfo{Bus: bus, J1939: m.byGroup, Message: m.message, First: len(p.signals)})
	for _, sig := range m.message.Signals {
		p.signals = append(p.signals, SignalInfo{Bus: s.Bus, Message: m.message.Name, Frame: m.message.ID, J1939: m.byGroup, Signal: sig})
	}
	long := m.byGroup && m.message.Length > can.MaxClassic && len(m.message.Signals) > 0
	p.long = append(p.long, long)
	p.longBuses[bus] = p.longBuses[bus] || long
	b := newBuilder(c, m.message, long)
	if !b.tree() {
		c.add(m.file.Name, 0, false, "at most %d combinations of multiplexed signals in message %s; only those in all frames are decoded",
			maxPaths, clip(m.message.Name))
		c.references += maxReferences // a bounded number of failures is paid for
		b = newBuilder(c, m.message, long)
		b.common()
	}
	b.commit()
}

// decodable gives the message without the signals that do not fit into a raw value.
func decodable(m *Message) *Message {
	tooLong := func(s *Signal) bool { return s.Length > maxRawBits }
	if !slices.ContainsFunc(m.Signals, tooLong) {
		return m
	}
	less := *m
	less.Signals = slices.DeleteFunc(slices.Clone(m.Signals), tooLong)
	return &less
}
