package dbc

import (
	"math/bits"

	"telltale.dev/protocol/can"
)

// lookup finds the message of a frame on one bus: a table for 11-bit
// identifiers and open addressing for 29-bit ones, at most half full.
type lookup struct {
	standard []int32  // by identifier; message + 1, 0: none. nil or 2048 long
	extended []bucket // 2ⁿ long, or nil
	shift    uint8    // 64 − n
	j1939    bool     // some 29-bit identifiers go by parameter group
	plain    bool     // some may not
}

// bucket is a place of the open addressing. key 0 with message 0 is free.
type bucket struct {
	key     uint32
	message int32 // message + 1; negative: a parameter group of several messages, see exactKey
}

// Keys of 29-bit identifiers. A parameter group, of 18 bits, has no mark. exactKey marks the key of a J1939
// message that is told from others of its parameter group by its addresses; the priority is left out (SAE
// J1939-21, 5.2). plainKey marks a whole identifier.
const (
	exactKey     = 1 << 31
	plainKey     = 1 << 30
	withoutPrior = 1<<26 - 1
)

// find gives the message of an identifier, −1 when there is none.
func (l *lookup) find(id can.ID) int32 {
	if !id.IsExtended() {
		if int(id) < len(l.standard) {
			return l.standard[id] - 1
		}
		return -1
	}
	if id.Number() > uint32(can.ExtendedMask) {
		return -1
	}
	if l.plain {
		if m := l.get(plainKey | id.Number()); m > 0 || !l.j1939 {
			return m - 1
		}
	}
	m := l.get(id.PGN())
	if m < 0 {
		if exact := l.get(exactKey | id.Number()&withoutPrior); exact > 0 {
			m = exact
		} else {
			m = -m
		}
	}
	return m - 1
}

// get gives what is stored for a key, 0 when there is nothing.
func (l *lookup) get(key uint32) int32 {
	if len(l.extended) == 0 {
		return 0
	}
	mask := uint32(len(l.extended) - 1)
	for i := place(key, l.shift); ; i++ {
		s := &l.extended[i&mask]
		if s.key == key || s.message == 0 {
			return s.message
		}
	}
}

// place gives where the search for a key begins (multiplicative hashing, Knuth volume 3, 6.4).
func place(key uint32, shift uint8) uint32 {
	return uint32(uint64(key) * 0x9E3779B97F4A7C15 >> (shift & 63))
}

// newLookup builds the tables from message + 1 by key.
func newLookup(standard, extended map[uint32]int32, j1939, plain bool) lookup {
	l := lookup{j1939: j1939, plain: plain}
	if len(standard) > 0 {
		l.standard = make([]int32, can.StandardMask+1)
		for id, m := range standard {
			l.standard[id] = m
		}
	}
	if len(extended) == 0 {
		return l
	}
	n := bits.Len(uint(len(extended)*2 - 1))
	l.extended = make([]bucket, 1<<n)
	l.shift = uint8(64 - n)
	mask := uint32(len(l.extended) - 1)
	for key, m := range extended {
		i := place(key, l.shift)
		for l.extended[i&mask].message != 0 {
			i++
		}
		l.extended[i&mask] = bucket{key: key, message: m}
	}
	return l
}
