package dbc

import (
	"cmp"
	"slices"

	"telltale.dev/protocol/can"
)

// builder compiles one message: its multiplexors become a tree of nodes, the ends
// of which are paths, and each path has a layout for each length of the frame at which more signals fit.
// Positions in its own slices become positions in the plan by adding what the plan has already.
type builder struct {
	c          *compiler
	message    *Message
	reach      int       // bytes of payload that the message may have: can.MaxData, or more by the transport protocol
	first      int32     // global index of the message's first signal
	need       []int     // by signal: bytes of payload up to its end
	children   [][]int32 // by signal: the signals it selects
	root       int32     // node or path
	nodes      []node
	paths      []path
	layouts    []Layout
	programs   []program   // by layout
	sets       map[set]int // numbers the sets of signals
	known      map[shown]int32
	selections map[int32][]selection // by selector, as cases gave them
	used       int                   // signals in paths, and cases, so far
}

// set is a set of signals in their order: the number of the set without the last one, and the last one.
type set struct {
	before int
	last   int32
}

// shown is a set of signals that is, or is not, all that was selected.
type shown struct {
	set   int
	short bool
}

func newBuilder(c *compiler, m *Message, long bool) *builder {
	b := &builder{
		c: c, message: m, reach: can.MaxData, first: int32(len(c.plan.signals) - len(m.Signals)),
		need: make([]int, len(m.Signals)), children: make([][]int32, len(m.Signals)),
		sets: map[set]int{}, known: map[shown]int32{}, selections: map[int32][]selection{},
	}
	if long {
		b.reach = maxLength
	}
	selectors := map[string]int{}
	for i, s := range m.Signals {
		b.need[i] = s.bytes()
		if _, again := selectors[s.Name]; s.Multiplexor && !again {
			selectors[s.Name] = i
		}
	}
	for i, s := range m.Signals {
		if s.Mux == nil {
			continue
		}
		if at, ok := selectors[s.Mux.Selector]; ok && at != i {
			b.children[at] = append(b.children[at], int32(i))
		}
	}
	return b
}

// unconditional gives the signals that are in each frame.
func (b *builder) unconditional() []int32 {
	var list []int32
	for i, s := range b.message.Signals {
		if s.Mux == nil {
			list = append(list, int32(i))
		}
	}
	return list
}

// tree compiles the message; false when there are too many combinations.
func (b *builder) tree() bool {
	var ok bool
	b.root, ok = b.step(b.unconditional(), b.unconditional(), 0)
	return ok
}

// common compiles the message as if only the signals in all frames existed.
func (b *builder) common() {
	b.root, _ = b.path(b.unconditional())
}

// step compiles what is left to find out, when signals are known to be in the
// frame and the multiplexors among fresh are still to be looked at. It gives the node or path.
func (b *builder) step(signals, fresh []int32, depth int) (int32, bool) {
	at := slices.IndexFunc(fresh, func(s int32) bool { return len(b.children[s]) > 0 && b.need[s] <= b.reach })
	if at < 0 {
		return b.path(slices.Clone(signals))
	}
	selector, rest := fresh[at], fresh[at+1:]
	cases, ok := b.cases(selector)
	b.used += len(cases)
	if !ok || depth >= maxDepth || b.used > maxReferences {
		return 0, false
	}
	unsigned := *b.message.Signals[selector]
	unsigned.Signed = false // ranges are of the bits as they are
	n := node{need: int32(b.need[selector]), selector: newOp(&unsigned)}
	made := map[string]int32{} // node or path by the signals that are selected
	for _, c := range cases {
		next, seen := made[c.key]
		if !seen {
			if next, ok = b.step(slices.Concat(signals, c.signals), slices.Concat(rest, c.signals), depth+1); !ok {
				return 0, false
			}
			made[c.key] = next
		}
		n.starts = append(n.starts, c.start)
		n.next = append(n.next, next)
	}
	if n.other, ok = made[""]; !ok {
		if n.other, ok = b.step(signals, rest, depth+1); !ok {
			return 0, false
		}
	}
	n.flatten(highest(b.message.Signals[selector]))
	b.nodes = append(b.nodes, n)
	return int32(len(b.c.plan.nodes) + len(b.nodes) - 1), true
}

// flatten makes next a table by selector value when that takes little room.
func (n *node) flatten(highest uint64) {
	const always, perCase = 256, 4
	last := highest // value with something selected
	if final := len(n.next) - 1; n.next[final] == n.other {
		if last = n.starts[final]; last > 0 {
			last--
		}
	}
	if last >= max(always, perCase*uint64(len(n.starts))) {
		return
	}
	table := make([]int32, last+1)
	for i, next := range n.next {
		for v := n.starts[i]; v <= last && (i+1 == len(n.starts) || v < n.starts[i+1]); v++ {
			table[v] = next
		}
	}
	n.starts, n.next = nil, table
}

// path compiles the end of a way through the multiplexors: these signals are in the frame, as far as it reaches.
func (b *builder) path(signals []int32) (int32, bool) {
	b.used += len(signals)
	if len(b.paths) >= maxPaths || len(b.paths) > 0 && (b.used > maxReferences || b.used+b.c.references > maxAll) {
		return 0, false
	}
	slices.SortFunc(signals, func(x, y int32) int { return cmp.Or(cmp.Compare(b.need[x], b.need[y]), cmp.Compare(x, y)) })
	var way path
	var list []int32
	var ops []op
	for _, s := range signals {
		if b.need[s] > b.reach {
			break // no frame brings it
		}
		list = append(list, b.first+s)
		ops = append(ops, newOp(b.message.Signals[s]))
	}
	number, cut, reached, budget := 0, int32(Uncovered), 0, maxCutReferences
	way.layout = Uncovered
	for i := range list {
		if need := b.need[signals[i]]; need > reached {
			if reached <= can.MaxData || i <= budget {
				cut = b.layout(number, list[:i:i], ops[:i:i], true)
			}
			way.cuts = append(way.cuts, slices.Repeat([]int32{cut}, max(min(need, can.MaxData+1)-len(way.cuts), 0))...)
			if need > can.MaxData {
				way.steps = append(way.steps, step{int32(need), cut})
				budget -= i
				b.used += i
			}
			reached = need
		}
		next := set{before: number, last: signals[i]}
		if _, ok := b.sets[next]; !ok {
			b.sets[next] = len(b.sets) + 1
		}
		number = b.sets[next]
	}
	way.layout = b.layout(number, list, ops, len(list) < len(signals))
	if way.layout >= 0 {
		way.program = b.programs[int(way.layout)-len(b.c.plan.layouts)]
	}
	b.paths = append(b.paths, way)
	return pathAt(int32(len(b.c.plan.paths) + len(b.paths) - 1)), true
}

// layout gives the layout of a set of signals, a new one when the message has none of it yet.
func (b *builder) layout(number int, signals []int32, ops []op, short bool) int32 {
	if len(signals) == 0 {
		return Uncovered
	}
	key := shown{number, short}
	l, ok := b.known[key]
	if !ok {
		l = int32(len(b.c.plan.layouts) + len(b.layouts))
		b.known[key] = l
		b.layouts = append(b.layouts, Layout{Message: len(b.c.plan.messages) - 1, Short: short, Signals: signals})
		b.programs = append(b.programs, newProgram(ops))
	}
	return l
}

// commit puts what was built into the plan.
func (b *builder) commit() {
	p := b.c.plan
	b.c.references += b.used
	p.nodes = append(p.nodes, b.nodes...)
	p.roots = append(p.roots, b.root)
	p.paths = append(p.paths, b.paths...)
	p.layouts = append(p.layouts, b.layouts...)
	p.programs = append(p.programs, b.programs...)
	for _, l := range b.layouts {
		p.maxSignals = max(p.maxSignals, len(l.Signals))
	}
}
