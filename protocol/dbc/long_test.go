package dbc_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// longText has a J1939 message of 100 bytes with signals in front of, across and behind byte 64, and a multiplexor
// behind it; a message of 8 bytes; and a message of the same form that is not J1939.
const longText = `BO_ 2566834942 Long: 100 X
 SG_ low : 0|16@1+ (1,0) [0|0] "" X
 SG_ across : 500|24@1- (0.5,0) [0|0] "" X
 SG_ nine : 561|64@1+ (1,0) [0|0] "" X
 SG_ big : 645|12@0- (1,0) [0|0] "" X
 SG_ real : 672|32@1- (1,0) [0|0] "" X
 SG_ which M : 720|8@1+ (1,0) [0|0] "" X
 SG_ one m1 : 728|8@1+ (1,0) [0|0] "" X
 SG_ two m2 : 728|16@1+ (1,0) [0|0] "" X
 SG_ far : 792|8@1+ (1,0) [0|0] "" X
BO_ 2566835198 Short: 8 X
 SG_ s : 0|8@1+ (1,0) [0|0] "" X
SIG_VALTYPE_ 2566834942 real : 1;
`

// longData gives a payload of n bytes: byte i is 7·i+3, but for the float and the multiplexor.
func longData(n int) []byte {
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte(7*i + 3)
	}
	copy(data[84:], "\x00\x00\x48\xC1") // −12.5
	data[90] = 2
	return data[:n]
}

// TestDecodeLong: the values of a message that came in parts are those of its bits, as far as it reaches. They were
// worked out apart from this code, from the payload as one number.
func TestDecodeLong(t *testing.T) {
	plan := compileText(t, longText, true)
	tests := []struct {
		bytes int
		want  string
	}{
		{0, ""},
		{1, ""},
		{2, "low=2563"},
		{65, "low=2563"},
		{66, "low=2563 across=-5489717"},
		{78, "low=2563 across=-5489717"},
		{79, "low=2563 across=-5489717 nine=-8139262348608275850"},
		{82, "low=2563 across=-5489717 nine=-8139262348608275850 big=-818"},
		{88, "low=2563 across=-5489717 nine=-8139262348608275850 big=-818 real=-12.5"},
		{91, "low=2563 across=-5489717 nine=-8139262348608275850 big=-818 real=-12.5 which=2"},
		{93, "low=2563 across=-5489717 nine=-8139262348608275850 big=-818 real=-12.5 which=2 two=34688"},
		{100, "low=2563 across=-5489717 nine=-8139262348608275850 big=-818 real=-12.5 which=2 two=34688 far=184"},
	}
	raw := make([]int64, plan.MaxSignals())
	for _, test := range tests {
		layout, n := plan.DecodeLong(0, 0x80FECA17, longData(test.bytes), raw)
		if got := listed(plan, layout, raw[:n]); got != test.want {
			t.Errorf("%d bytes: got %q, want %q", test.bytes, got, test.want)
		}
	}
	if layout, _ := plan.DecodeLong(0, 0x98FECB00, longData(100), raw); layout != dbc.Unknown {
		t.Errorf("a message of at most 8 bytes: got layout %d, want unknown", layout)
	}
	if layout, _ := plan.DecodeLong(1, 0x98FECA00, longData(100), raw); layout != dbc.Unknown {
		t.Errorf("no such bus: got layout %d, want unknown", layout)
	}
	frame := can.Frame{ID: 0x98FECA00, Len: 8}
	copy(frame.Data[:], longData(8))
	if layout, n := plan.Decode(0, &frame, raw); listed(plan, layout, raw[:n]) != "low=2563" {
		t.Errorf("a frame: got %q", listed(plan, layout, raw[:n]))
	}
	if !plan.Long(0) || plan.Long(1) || plan.Long(-1) {
		t.Error("want long messages on the bus only")
	}
	whole := longData(100)
	if allocs := testing.AllocsPerRun(100, func() { plan.DecodeLong(0, 0x98FECA00, whole, raw) }); allocs > 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
}

// TestNotLong: without J1939 nothing is a long message, whatever its length.
func TestNotLong(t *testing.T) {
	plan := compileText(t, strings.ReplaceAll(longText[strings.Index(longText, "BO_ 2566835198"):strings.Index(longText, "SIG_")], ": 8 X", ": 64 X"), false)
	if layout, _ := plan.DecodeLong(0, 0x98FECB00, longData(100), make([]int64, plan.MaxSignals())); plan.Long(0) || layout != dbc.Unknown {
		t.Errorf("got layout %d, want unknown", layout)
	}
}

// TestLongBounds: the layouts of a long message of thousands of signals are bounded, and it is still decoded wholly.
func TestLongBounds(t *testing.T) {
	var text strings.Builder
	text.WriteString("BO_ 2566834942 Bits: 1785 X\n")
	for i := range 1785 * 8 {
		fmt.Fprintf(&text, " SG_ b%d : %d|1@1+ (1,0) [0|0] \"\" X\n", i, i)
	}
	plan := compileText(t, text.String(), true)
	data := make([]byte, 1785)
	data[1784] = 0x80
	raw := make([]int64, plan.MaxSignals())
	layout, n := plan.DecodeLong(0, 0x98FECA00, data, raw)
	if layout < 0 || n != 1785*8 || raw[n-1] != 1 || raw[n-2] != 0 {
		t.Errorf("got layout %d with %d signals", layout, n)
	}
	if _, n := plan.DecodeLong(0, 0x98FECA00, data[:1784], raw); n < 64*8 {
		t.Errorf("a byte less: got %d signals, want those of 64 bytes at least", n)
	}
	members := 0
	for _, l := range plan.Layouts() {
		members += len(l.Signals)
	}
	if members > 1<<16 {
		t.Errorf("got %d signals in all layouts, want at most %d", members, 1<<16)
	}
}

// TestManyLongMessages: a plan of many long messages takes memory for their signals, not for their lengths.
func TestManyLongMessages(t *testing.T) {
	compiled := func(start int) uint64 {
		var text strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&text, "BO_ %d M%d: 1785 X\n SG_ s : %d|8@1+ (1,0) [0|0] \"\" X\n", uint32(1<<31|0xFE0000)|uint32(i<<8&0xFF00|i>>8&0xFF), i, start)
		}
		file, _, err := dbc.Parse("many.dbc", []byte(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}, J1939: true}})
		runtime.ReadMemStats(&after)
		if err != nil || !plan.Long(0) {
			t.Fatal(err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if near, far := compiled(0), compiled(1784*8); far > 2*near {
		t.Errorf("got %d bytes for signals in the last byte, %d in the first", far, near)
	}
}

// listed gives the values of a layout as text.
func listed(plan *dbc.Plan, layout int, raw []int64) string {
	var parts []string
	for i, v := range raw {
		s := plan.Signals()[plan.Layouts()[layout].Signals[i]]
		if s.IEEE != 0 {
			parts = append(parts, fmt.Sprintf("%s=%v", s.Name, s.Physical(v)))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s=%d", s.Name, v))
	}
	return strings.Join(parts, " ")
}
