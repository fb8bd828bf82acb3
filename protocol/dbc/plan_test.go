package dbc_test

import (
	"fmt"
	"strings"
	"testing"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// decoded decodes one frame and writes "message signal=raw …", with "short" where it applies.
func decoded(plan *dbc.Plan, bus int, f can.Frame) string {
	raw := make([]int64, plan.MaxSignals())
	layout, n := plan.Decode(bus, &f, raw)
	switch layout {
	case dbc.Unknown:
		return "unknown"
	case dbc.Uncovered:
		return "uncovered"
	}
	text := plan.MessageName(layout)
	if plan.Layouts()[layout].Short {
		text += " short"
	}
	for i, s := range plan.Layouts()[layout].Signals[:n] {
		text += fmt.Sprintf(" %s=%d", plan.Signals()[s].Name, raw[i])
	}
	return text
}

func frame(id can.ID, data string) can.Frame {
	f := can.Frame{ID: id, Len: uint8(len(data))}
	copy(f.Data[:], data)
	return f
}

const nested = `BO_ 1 A: 8 X
 SG_ M M : 0|8@1+ (1,0) [0|1] "" X
 SG_ common : 56|8@1+ (1,0) [0|1] "" X
 SG_ N m0M : 8|4@1+ (1,0) [0|1] "" X
 SG_ a m0 : 16|8@1+ (1,0) [0|1] "" X
 SG_ b m1 : 16|8@1+ (1,0) [0|1] "" X
 SG_ c m2 : 24|8@1+ (1,0) [0|1] "" X
SG_MUL_VAL_ 1 N M 0-0, 200-255;
SG_MUL_VAL_ 1 a N 0-3, 7-7;
SG_MUL_VAL_ 1 b N 3-5;
SG_MUL_VAL_ 1 c M 1-1;
`

func TestMultiplexing(t *testing.T) {
	plan := compileText(t, nested, false)
	tests := []struct{ name, data, want string }{
		{"both levels", "\x00\x01\x22\x33\x00\x00\x00\x07", "A M=0 N=1 a=34 common=7"},
		{"overlap of ranges", "\x00\x03\x22\x33\x00\x00\x00\x07", "A M=0 N=3 a=34 b=34 common=7"},
		{"inner value without signals", "\x00\x06\x22\x33\x00\x00\x00\x07", "A M=0 N=6 common=7"},
		{"inner value beyond", "\x00\x0F\x22\x33\x00\x00\x00\x07", "A M=0 N=15 common=7"},
		{"range up to the highest", "\xFF\x07\x22\x33\x00\x00\x00\x07", "A M=255 N=7 a=34 common=7"},
		{"other outer value", "\x01\x01\x22\x33\x00\x00\x00\x07", "A M=1 c=51 common=7"},
		{"outer value without signals", "\x02\x01\x22\x33\x00\x00\x00\x07", "A M=2 common=7"},
		{"short", "\x00\x01\x22", "A short M=0 N=1 a=34"},
		{"inner selector only", "\x00\x01", "A short M=0 N=1"},
		{"outer selector only", "\x00", "A short M=0"},
		{"nothing", "", "uncovered"},
		{"longer than the message", "\x00\x01\x22\x33\x00\x00\x00\x07\x08\x09\x0A\x0B", "A M=0 N=1 a=34 common=7"},
	}
	for _, test := range tests {
		if got := decoded(plan, 0, frame(1, test.data)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	compareRandom(t, plan, 2000)
	for i, l := range plan.Layouts() {
		for j, other := range plan.Layouts()[:i] {
			if fmt.Sprint(l) == fmt.Sprint(other) {
				t.Errorf("layouts %d and %d are the same: %v", j, i, l)
			}
		}
	}
}

// TestLateSelector has a selector behind what it selects, so that a short frame holds the one without the other;
// what lies in the buffer behind the frame's end must not be taken for it.
func TestLateSelector(t *testing.T) {
	plan := compileText(t, `BO_ 1 A: 8 X
 SG_ M M : 16|8@1+ (1,0) [0|1] "" X
 SG_ a m0 : 0|8@1+ (1,0) [0|1] "" X
 SG_ b m1 : 8|8@1+ (1,0) [0|1] "" X
 SG_ common : 0|4@1+ (1,0) [0|1] "" X
`, false)
	for data, want := range map[string]string{"\x01\x02\x00": "A a=1 common=1 M=0", "\x01\x02": "A short common=1", "\x01": "A short common=1"} {
		if got := decoded(plan, 0, frame(1, data)); got != want {
			t.Errorf("%X: got %q, want %q", data, got, want)
		}
	}
	compareRandom(t, plan, 1000)
}

// TestSparseSelector has selector values too far apart for a table.
func TestSparseSelector(t *testing.T) {
	for _, sign := range []string{"+", "-"} {
		var b strings.Builder
		fmt.Fprintf(&b, "BO_ 1 A: 64 X\n SG_ M M : 0|64@1%s (1,0) [0|1] \"\" X\n", sign)
		values := []string{"0", "1", "1000", "65536", "4294967295", "9223372036854775807"}
		for i, v := range values {
			fmt.Fprintf(&b, " SG_ s%d m%s : %d|8@1+ (1,0) [0|1] \"\" X\n", i, v, 64+8*i)
		}
		plan := compileText(t, b.String(), false)
		raw := make([]int64, plan.MaxSignals())
		for _, v := range []uint64{0, 1, 2, 999, 1000, 1001, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
			f := can.Frame{ID: 1, Len: 64}
			for i := range 8 {
				f.Data[i] = byte(v >> (8 * i))
			}
			compare(t, plan, 0, &f, raw)
		}
	}
}

// oneByte writes a message of one byte with one signal.
func oneByte(id uint32, name string) string {
	return fmt.Sprintf("BO_ %d %s: 1 X\n SG_ %s_s : 0|8@1+ (1,0) [0|1] \"\" X\n", id, name, name)
}

const ext = 1 << 31

// buses compiles a car's bus of two files, a truck's bus and a bus of which nothing is known.
func buses(t *testing.T) *dbc.Plan {
	t.Helper()
	parse := func(name string, texts ...string) *dbc.File {
		f, _, err := dbc.Parse(name, []byte(strings.Join(texts, "")))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := parse("first.dbc", oneByte(0, "Zero"), oneByte(0x7FF, "Last"), oneByte(ext, "ZeroExt"), oneByte(ext|0x7FF, "LastExt"),
		oneByte(ext|0x1FFFFFFF, "Highest"), oneByte(0x800, "Missing31"), oneByte(0xFFFFFFFF, "Nowhere"), oneByte(5, "Once"), oneByte(5, "Again"),
		oneByte(6, "InBoth"), "BO_ 7 Empty: 8 X\nBO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 X\n SG_ i : 0|8@1+ (1,0) [0|1] \"\" X\n")
	second := parse("second.dbc", oneByte(6, "Replaces"))
	truck := parse("truck.dbc", oneByte(ext|0x18FEF1FE, "CCVS"), oneByte(ext|0x0CF004FE, "EEC1"), oneByte(ext|0x0C0000FE, "TSC1"),
		oneByte(ext|0x18FF0102, "PropA"), oneByte(ext|0x18FF0103, "PropB"), oneByte(0x123, "Classic"))
	plan, problems, err := dbc.Compile([]dbc.Source{
		{Bus: "can0", Files: []*dbc.File{first, second}},
		{Bus: "can1", Files: []*dbc.File{truck}, J1939: true},
		{Bus: "can2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].String(), `message "Replaces" replaces "InBoth"`) {
		t.Errorf("got problems %v, want one on InBoth", problems)
	}
	return plan
}

func TestLookup(t *testing.T) {
	plan := buses(t)
	tests := []struct {
		bus  int
		id   can.ID
		want string
	}{
		{0, 0, "Zero Zero_s=9"}, {0, 0x7FF, "Last Last_s=9"}, {0, 0x7FE, "unknown"},
		{0, ext, "ZeroExt ZeroExt_s=9"}, {0, ext | 0x7FF, "LastExt LastExt_s=9"}, {0, ext | 0x1FFFFFFF, "Highest Highest_s=9"},
		{0, ext | 0x800, "Missing31 Missing31_s=9"}, {0, 0x800, "unknown"}, {0, 0xFFFFFFFF, "unknown"}, {0, ext | 1, "unknown"},
		{0, 5, "Again Again_s=9"}, {0, 6, "Replaces Replaces_s=9"}, {0, 7, "uncovered"}, {0, 0xC0000000, "unknown"},
		{1, ext | 0x18FEF100, "CCVS CCVS_s=9"}, {1, ext | 0x0CFEF121, "CCVS CCVS_s=9"}, {1, ext | 0x18FEF200, "unknown"},
		{1, ext | 0x0C000B21, "TSC1 TSC1_s=9"}, {1, ext | 0x0C00FF00, "TSC1 TSC1_s=9"}, {1, ext | 0x0C010B21, "unknown"},
		{1, ext | 0x18FF0102, "PropA PropA_s=9"}, {1, ext | 0x0CFF0102, "PropA PropA_s=9"}, {1, ext | 0x18FF0103, "PropB PropB_s=9"}, {1, ext | 0x18FF0177, "PropB PropB_s=9"},
		{1, 0x123, "Classic Classic_s=9"}, {1, 0x124, "unknown"},
		{2, 0, "unknown"}, {2, ext | 1, "unknown"}, {3, 0, "unknown"}, {-1, 0, "unknown"},
	}
	for _, test := range tests {
		if got := decoded(plan, test.bus, frame(test.id, "\x09")); got != test.want {
			t.Errorf("bus %d %X: got %q, want %q", test.bus, uint32(test.id), got, test.want)
		}
	}
}

func TestNoData(t *testing.T) {
	plan := buses(t)
	remote := frame(0, "\x09")
	remote.Flags = can.Remote
	if got := decoded(plan, 0, remote); got != "uncovered" {
		t.Errorf("remote frame: got %q", got)
	}
	remote.Flags = can.Error
	if got := decoded(plan, 0, remote); got != "unknown" {
		t.Errorf("error frame: got %q", got)
	}
}

func TestMessages(t *testing.T) {
	plan := buses(t)
	if got := fmt.Sprint(plan.Buses()); got != "[can0 can1 can2]" {
		t.Errorf("got buses %s", got)
	}
	for _, m := range plan.Messages() {
		if len(m.Signals) == 0 {
			continue
		}
		if plan.Signals()[m.First].Bus != plan.Buses()[m.Bus] || plan.Signals()[m.First].J1939 != m.J1939 {
			t.Errorf("got %+v for the first signal of %s", plan.Signals()[m.First], m.Name)
		}
		if m.J1939 != (m.Bus == 1 && m.ID.IsExtended()) {
			t.Errorf("%s: got J1939 %v", m.Name, m.J1939)
		}
	}
}

// TestTransport has a J1939 message that is longer than a frame.
func TestTransport(t *testing.T) {
	plan := compileText(t, "BO_ 2566839295 A: 100 X\n SG_ a : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ b : 504|8@1+ (1,0) [0|1] \"\" X\n SG_ c : 512|8@1+ (1,0) [0|1] \"\" X\n", true)
	if got, want := decoded(plan, 0, frame(2566839295, strings.Repeat("\x01", 64))), "A short a=1 b=1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := decoded(plan, 0, frame(2566839295, "\x01")), "A short a=1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(plan.Signals()); n != 3 {
		t.Errorf("got %d signals, want 3", n)
	}
}

// TestLongSignal has a text of 17 bytes, which is read but not decoded, between two signals that are.
func TestLongSignal(t *testing.T) {
	file, problems, err := dbc.Parse("a.dbc", []byte("BO_ 1 A: 32 X\n SG_ a : 0|8@1+ (1,0) [0|1] \"\" X\n"+
		" SG_ VIN : 8|136@1+ (1,0) [0|1] \"\" X\n SG_ b : 144|8@1+ (1,0) [0|1] \"\" X\n"))
	if err != nil || len(problems) != 1 || file.Skipped != 0 || len(file.Messages[0].Signals) != 3 {
		t.Fatalf("got %v %v, want three signals and one problem", problems, err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decoded(plan, 0, frame(1, strings.Repeat("\x05", 32))), "A a=5 b=5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(plan.Signals()) != 2 || len(file.Messages[0].Signals) != 3 {
		t.Errorf("got %d signals in the plan and %d in the file, want 2 and 3", len(plan.Signals()), len(file.Messages[0].Signals))
	}
}

// TestFullMessage has 512 signals of one bit.
func TestFullMessage(t *testing.T) {
	var b strings.Builder
	b.WriteString("BO_ 1 A: 64 X\n")
	for i := range 512 {
		fmt.Fprintf(&b, " SG_ s%d : %d|1@%d+ (1,0) [0|1] \"\" X\n", i, i, i%2)
	}
	plan := compileText(t, b.String(), false)
	if plan.MaxSignals() != 512 || len(plan.Layouts()) != 64 {
		t.Errorf("got %d signals and %d layouts, want 512 and one for each length", plan.MaxSignals(), len(plan.Layouts()))
	}
	compareRandom(t, plan, 100)
}

func TestCompileErrors(t *testing.T) {
	if _, _, err := dbc.Compile([]dbc.Source{{}}); err == nil || err.Error() != "source 0: expected the name of a bus" {
		t.Errorf("got %v", err)
	}
	if _, _, err := dbc.Compile([]dbc.Source{{Bus: "a"}, {Bus: "a"}}); err == nil || err.Error() != `source 1: expected each bus once, got "a" again` {
		t.Errorf("got %v", err)
	}
}

// TestDecodeAllocates makes sure that it does not, through all kinds of frames.
func TestDecodeAllocates(t *testing.T) {
	r := goldenLogs[1] // nested multiplexing
	plan := r.plan(t)
	bus, frames := r.frames(t)
	raw := make([]int64, plan.MaxSignals())
	i := 0
	if n := testing.AllocsPerRun(10000, func() {
		plan.Decode(bus[i], &frames[i], raw)
		i++
	}); n != 0 {
		t.Errorf("got %v allocations per frame, want 0", n)
	}
}

func ExamplePlan_Decode() {
	file, _, err := dbc.Parse("car.dbc", []byte(`BO_ 180 SPEED: 8 ECU
 SG_ VEHICLE_SPEED : 47|16@0+ (0.01,0) [0|250] "km/h" ECU
 SG_ GEAR : 0|3@1+ (1,0) [0|7] "" ECU
VAL_ 180 GEAR 0 "P" 1 "R" 2 "N" 3 "D" ;
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	raw := make([]int64, plan.MaxSignals())
	f := can.Frame{ID: 180, Len: 8, Data: [64]byte{3, 0, 0, 0, 0, 0x1B, 0x58, 0}}
	layout, n := plan.Decode(0, &f, raw)
	for i, index := range plan.Layouts()[layout].Signals[:n] {
		s := plan.Signals()[index]
		text, _ := s.Text(raw[i])
		fmt.Println(s.Message, s.Name, s.Physical(raw[i]), s.Unit, text)
	}
	// Output:
	// SPEED GEAR 3  D
	// SPEED VEHICLE_SPEED 70 km/h
}

// TestFrameFormat: messages of VFrameFormat J1939PG are matched by parameter group without Source.J1939, others by identifier.
func TestFrameFormat(t *testing.T) {
	const text = "BO_ 2364540158 Eng: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n\nBO_ 2564358398 ToOne: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n\n" +
		"BO_ 2364539905 Plain: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n\nBO_ 2147545092 Small: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n\n" +
		"BA_DEF_ BO_ \"VFrameFormat\" ENUM \"StandardCAN\",\"ExtendedCAN\",\"reserved\",\"J1939PG\";\nBA_DEF_DEF_ \"VFrameFormat\" \"ExtendedCAN\";\n" +
		"BA_ \"VFrameFormat\" BO_ 2364540158 3;\nBA_ \"VFrameFormat\" BO_ 2564358398 3;\n"
	plan := compile(t, text, false)
	tests := []struct {
		id   can.ID
		want string
	}{
		{0x0CF00400, "Eng"},   // another source address
		{0x18F00421, "Eng"},   // and another priority
		{0x18D9F1FE, "ToOne"}, // PDU1: another destination
		{0x0CF00401, "Plain"}, // by its own identifier, though of Eng's group
		{0x0000F004, "Small"}, // as large as Eng's group, and not taken for it
		{0x0CF00501, ""},
	}
	for _, test := range tests {
		got := ""
		if m := plan.Find(0, test.id|can.Extended); m >= 0 {
			got = plan.Messages()[m].Name
		}
		if got != test.want {
			t.Errorf("%X: got %q, want %q", test.id, got, test.want)
		}
	}
	if !plan.Messages()[0].J1939 || plan.Messages()[2].J1939 {
		t.Error("got Eng without J1939 or Plain with it")
	}
}
