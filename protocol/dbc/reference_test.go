package dbc_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// The tests of this file compare Decode with a decoder that is as slow and as plain as can be.

// bitsOf gives the bits of a signal, most significant first, as sawtooth numbers.
func bitsOf(s *dbc.Signal) []int {
	var list []int
	at := s.Start
	for range s.Length {
		list = append(list, at)
		switch {
		case !s.BigEndian:
			at++
		case at%8 == 0:
			at += 15 // bit 7 of the next byte
		default:
			at--
		}
	}
	if !s.BigEndian {
		slices.Reverse(list)
	}
	return list
}

// plainBits gives a signal's bits as an unsigned number, and whether the payload holds them all.
func plainBits(s *dbc.Signal, payload []byte) (v uint64, ok bool) {
	for _, b := range bitsOf(s) {
		if b/8 >= len(payload) {
			return 0, false
		}
		v = v<<1 | uint64(payload[b/8]>>(b%8)&1)
	}
	return v, true
}

// plainRaw gives a signal's raw value.
func plainRaw(s *dbc.Signal, payload []byte) int64 {
	v, _ := plainBits(s, payload)
	switch {
	case s.IEEE == 32:
		return int64(math.Float64bits(float64(math.Float32frombits(uint32(v)))))
	case s.Signed && s.IEEE == 0 && v>>(s.Length-1) == 1:
		v |= math.MaxUint64 << (s.Length - 1)
	}
	return int64(v)
}

// plainDecode gives the raw values by position in the message, and whether a selected signal did not fit.
func plainDecode(m *dbc.Message, payload []byte) (values map[int]int64, short bool) {
	values = map[int]int64{}
	for i, s := range m.Signals {
		if !selected(m, s, payload, 0) {
			continue
		}
		if _, ok := plainBits(s, payload); ok {
			values[i] = plainRaw(s, payload)
		} else {
			short = true
		}
	}
	return values, short
}

// selected says whether the multiplexors put a signal into the frame.
func selected(m *dbc.Message, s *dbc.Signal, payload []byte, depth int) bool {
	if s.Mux == nil {
		return true
	}
	at := slices.IndexFunc(m.Signals, func(o *dbc.Signal) bool { return o.Multiplexor && o.Name == s.Mux.Selector })
	if at < 0 || depth > len(m.Signals) || !selected(m, m.Signals[at], payload, depth+1) {
		return false
	}
	v, ok := plainBits(m.Signals[at], payload)
	return ok && slices.ContainsFunc(s.Mux.Ranges, func(r [2]int64) bool {
		return r[0] >= 0 && uint64(r[0]) <= v && v <= uint64(r[1])
	})
}

// compare decodes one frame both ways.
func compare(t testing.TB, plan *dbc.Plan, bus int, f *can.Frame, raw []int64) {
	t.Helper()
	message := plan.Find(bus, f.ID)
	for i := range raw {
		raw[i] = 0x5A5A5A5A5A5A5A5A
	}
	layout, n := plan.Decode(bus, f, raw)
	if message < 0 {
		if layout != dbc.Unknown || n != 0 {
			t.Fatalf("frame %X: got layout %d, want Unknown", f.ID, layout)
		}
		return
	}
	m := plan.Messages()[message]
	want, short := plainDecode(m.Message, f.Payload())
	if len(want) == 0 {
		if layout != dbc.Uncovered || n != 0 {
			t.Fatalf("%s %X: got layout %d, want Uncovered", m.Name, f.Payload(), layout)
		}
		return
	}
	if layout < 0 {
		t.Fatalf("%s %X: got layout %d, want %d signals", m.Name, f.Payload(), layout, len(want))
	}
	l := plan.Layouts()[layout]
	if l.Message != message || l.Short != short || len(l.Signals) != n || plan.MessageName(layout) != m.Name {
		t.Fatalf("%s %X: got layout %+v with %d values, want message %d, short %v", m.Name, f.Payload(), l, n, message, short)
	}
	got := map[int]int64{}
	for i, s := range l.Signals {
		got[int(s)-m.First] = raw[i]
	}
	if !maps.Equal(got, want) {
		t.Fatalf("%s %X: got %v, want %v", m.Name, f.Payload(), got, want)
	}
}

// compareRandom decodes random frames of each message of a plan, of all lengths.
func compareRandom(t testing.TB, plan *dbc.Plan, rounds int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	raw := make([]int64, plan.MaxSignals())
	for _, m := range plan.Messages() {
		for range rounds {
			f := can.Frame{ID: m.ID, Len: uint8(random.IntN(can.MaxData + 1))}
			if random.IntN(2) == 0 {
				f.Len = uint8(min(m.Length, can.MaxData))
			}
			for i := range f.Data { // small values too, they are what multiplexors have
				f.Data[i] = byte(random.Uint32() >> (random.IntN(9)))
			}
			compare(t, plan, m.Bus, &f, raw)
		}
	}
}

// TestPlacement decodes signals of every length at every start, in both byte orders.
func TestPlacement(t *testing.T) {
	for _, big := range []bool{false, true} {
		for _, signed := range []bool{false, true} {
			t.Run(fmt.Sprintf("big=%v signed=%v", big, signed), func(t *testing.T) {
				f := &dbc.File{Name: "test.dbc"}
				for length := 1; length <= 64; length++ {
					m := &dbc.Message{ID: can.ID(length), Name: fmt.Sprintf("M%d", length), Length: 64}
					for start := range 512 {
						s := &dbc.Signal{Name: fmt.Sprintf("S%d", start), Start: start, Length: length, BigEndian: big, Signed: signed, Factor: 1}
						if length == 32 && start%5 == 0 {
							s.IEEE = 32
						}
						if slices.Max(bitsOf(s)) < 512 {
							m.Signals = append(m.Signals, s)
						}
					}
					f.Messages = append(f.Messages, m)
				}
				plan, problems, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{f}}})
				if err != nil || len(problems) > 0 {
					t.Fatal(problems, err)
				}
				compareRandom(t, plan, 3)
			})
		}
	}
}

// TestCorpusDecode decodes random frames of all messages of all real files.
func TestCorpusDecode(t *testing.T) {
	for _, f := range corpus(t) {
		file, _, err := dbc.Parse(f.name, f.text)
		if err != nil {
			t.Fatal(err)
		}
		plan, problems, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
		if err != nil || len(problems) > 0 {
			t.Fatalf("%s: %v %v", f.name, problems, err)
		}
		compareRandom(t, plan, 5)
	}
}
