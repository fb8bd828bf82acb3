package drive

import (
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/j1939"
)

// truthLongs are the J1939 messages of a bus that came in parts. Who was not there for the first frame, or lost one on
// the way, does not have them: they count in a stretch that holds all their frames only.
type truthLongs struct {
	parts j1939.Assembler
	began map[can.ID]uint64 // index of the newest frame that opened a message, by the addresses in its identifier
	list  []truthLong       // in the order of their last frames
}

// truthLong is one of them.
type truthLong struct {
	first, last uint64 // index of its first and its last frame
	layout      int32
	sum         Checksum
}

// addresses are the bits of an identifier that name sender and receiver of a message in parts.
const addresses = can.ID(0xFFFF)

// addPart takes the next frame of a bus, whose index is b.frames.
func (t *Truth) addPart(b *truthBus, f *can.Frame) {
	if j1939.Begins(f) {
		b.long.began[f.ID&addresses] = b.frames
	}
	m := b.long.parts.Add(f)
	if m == nil {
		return
	}
	layout, n := t.plan.DecodeLong(b.index, m.ID(), m.Data, t.raw)
	if n > 0 {
		b.long.list = append(b.long.list, truthLong{
			first: b.long.began[f.ID&addresses], last: b.frames, layout: int32(layout), sum: t.samples(layout, n, m.Last),
		})
	}
}

// within gives the messages whose frames are all in a stretch; nil has none.
func (l *truthLongs) within(first, end uint64) (found []truthLong) {
	if l == nil {
		return nil
	}
	for _, m := range l.list {
		if m.first >= first && m.last < end {
			found = append(found, m)
		}
	}
	return found
}
