package dbc_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// lossFiles are further DBC files for TestLostLine, such as -losses '/data/*.dbc'; their lines are damaged, which takes minutes.
var lossFiles = flag.String("losses", "", "pattern of DBC files of which TestLostLine damages the lines (of files over 45 KB some)")

// everyKind has a statement of each kind that changes what others mean.
const everyKind = `VERSION "1"

NS_ :
	CM_
	SG_MUL_VAL_
	SIG_VALTYPE_

BS_:

BU_: ECU

VAL_TABLE_ OnOff 0 "off" 1 "on" ;

BO_ 800 Plain: 8 ECU
 SG_ A : 0|8@1+ (0.5,-40) [0|0] "degC" ECU
 SG_ B : 15|8@0- (1,0) [0|0] "" ECU

BO_ 801 Rack: 8 ECU
 SG_ Slot M : 0|8@1+ (1,0) [0|0] "" ECU
 SG_ Sub m0M : 8|8@1+ (1,0) [0|0] "" ECU
 SG_ Temp m0 : 16|8@1- (1,0) [0|0] "degC" ECU
 SG_ Volt m1 : 16|8@1+ (2,0) [0|0] "V" ECU
 SG_ Always : 24|8@1+ (1,0) [0|0] "" ECU

BO_ 802 Switched: 8 ECU
 SG_ Mode M : 0|8@1+ (1,0) [0|0] "" ECU
 SG_ X m0 : 8|8@1+ (1,0) [0|0] "" ECU

 SG_ Y m1 : 8|8@1+ (3,0) [0|0] "" ECU

BO_ 803 Floats: 16 ECU
 SG_ F : 0|32@1- (1,0) [0|0] "" ECU
 SG_ D : 32|64@1- (1,0) [0|0] "" ECU
 SG_ I : 96|32@1- (1,0) [0|0] "" ECU

BO_ 2364540158 Group: 8 ECU
 SG_ R : 24|16@1+ (0.125,0) [0|0] "rpm" ECU

CM_ SG_ 801 Temp "over
two lines";
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_ SG_ "SystemSignalLongSymbol" STRING ;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2364540158 3;
VAL_ 800 A OnOff ;
VAL_ 803 F 0 "zero" 1 "one" ;
SIG_VALTYPE_ 803 F : 1;
SIG_VALTYPE_ 803 D : 2;
SG_MUL_VAL_ 801 Sub Slot 1-1, 5-7;
SG_MUL_VAL_ 801 Temp Sub 34-51;
SG_MUL_VAL_ 801 Volt Sub 1-1;
`

// TestLost loses one statement of everyKind after the other: those signals vanish whose meaning it carries, and no others.
func TestLost(t *testing.T) {
	const rack, switched = "Sub Temp Volt", "Mode X Y"
	tests := []struct {
		statement, damaged string // a piece of its text, and what stands there instead
		gone               string // signals
		line               int    // of the problem, 0: none
	}{
		{"CM_ SG_ 801", "CM_ SG_ ?", "", 0},
		{"\" over", "\"\" over", "", 0},
		{"0|8@1+ (0.5,-40)", "0|8@3+ (0.5,-40)", "A", 15},
		{"0|8@1+ (0.5,-40)", "0|8@1* (0.5,-40)", "A", 15},
		{"0|8@1+ (0.5,-40)", "0|8@1+ (0.5;-40)", "A", 15},
		{"0|8@1+ (0.5,-40)", "0|x@1+ (0.5,-40)", "A", 15},
		{`"degC" ECU` + "\n SG_ B", `"degC ECU` + "\n SG_ B", "A", 15},
		{"BO_ 800 Plain", "BO_ 8oo Plain", "A B", 14},
		{"BO_ 800 Plain:", "BO_ 800 Plain", "A B", 14},
		{"Plain: 8", "Plain: x", "A B", 14},
		{"BO_ 801 Rack", "B0_ 801 Rack", rack + " Slot Always", 18},
		{"BO_ 801 Rack", "BO_801 Rack", rack + " Slot Always", 18},
		{"BO_ 801 Rack: 8 ECU\n", "", rack + " Slot Always", 18},
		{"SG_ Slot M :", "SG_ Slot N :", rack + " Slot", 19},
		{" SG_ Slot M : 0|8@1+ (1,0) [0|0] \"\" ECU\n", "", rack + " Slot", 0},
		{"SG_ Sub m0M : 8|8@1+", "SG_ Sub m0M : 8|8@7+", rack, 20},
		{" SG_ Sub m0M : 8|8@1+ (1,0) [0|0] \"\" ECU\n", "", rack, 0},
		{"SG_ Temp m0", "SG_ Temp m?", "Temp", 21},
		{"SG_ Mode M", "SG_ Mode m?M", switched, 26},
		{"SG_ Mode M :", "SG Mode M :", switched, 26},
		{"SG_ X m0 : 8", "SG_ X m0 : ?", "X", 27},
		{"SG_ X m0 : 8", "SG X m0 : 8", "X", 27},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE_ 803 F : x;", "F", 47},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE_ 803 F : 3;", "F", 47},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE 803 F : 1;", "F", 47},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE_ 803 F : 1 2;", "F", 47},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE_ 8?3 F : 1;", "F", 47},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE_ 803 ? : 1;", "F I", 47},
		{"SIG_VALTYPE_ 803 F : 1;", "SIG_VALTYPE_", "F I", 48},
		{"SG_ F : 0", "SG_ ?F : 0", "F", 47},
		{"SG_MUL_VAL_ 801 Sub Slot 1-1, 5-7;", "SG_MUL_VAL_ 801 Sub Slot 1..1, 5-7;", rack, 49},
		{"SG_MUL_VAL_ 801 Sub Slot 1-1, 5-7;", "SG_MUL_VAL_ 801 Sub Slot;", rack, 49},
		{"SG_MUL_VAL_ 801 Sub Slot 1-1, 5-7;", "SG_MUL_VAL_ 801 Sub Slot1-1, 5-7;", rack, 49},
		{"SG_MUL_VAL_ 801 Sub Slot 1-1, 5-7;\n", "", rack, 0},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;", "SG_MUL_VAL_ 801 Temp Sub 34..51;", "Temp", 50},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;", "SG_MUL_VAL_ 801 Temp Sub -1--1;", "Temp", 50},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;", "SG_MUL_VAL_ 801 Temp Subs 34-51;", "Temp", 50},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;", "SG_MUL_VAL_ 801 Temps Sub 34-51;", "Temp", 50},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;", "SG_MUL_VAL_ 8O1 Temp Sub 34-51;", "Temp", 50},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;", "SG_MULVAL 801 Temp Sub 34-51;", "Temp", 50},
		{"SG_MUL_VAL_ 801 Temp Sub 34-51;\n", "", "Temp", 0},
		{"BO_ 2364540158 Group", "BO_ Group", "R", 36},
		{`BA_ "VFrameFormat" BO_ 2364540158 3`, `BA_ "VFrameFormat" BO_ 2364540158 [`, "", 44},
		{`"StandardCAN","ExtendedCAN"`, `"StandardCAN,"ExtendedCAN"`, "", 41},
		{`VERSION "1"`, `VERSION "1`, "", 1},
		{"VAL_TABLE_ OnOff 0 \"off\" 1 \"on\" ;", "CM_", "", 14},
		{`VAL_TABLE_ OnOff 0 "off" 1 "on" ;`, `VAL_TABLE_ OnOff 0 "off" 1 "on ;`, "", 12},
		{`CM_ SG_ 801 Temp "over`, `CM_ SG_ 801 Temp over`, "", 39},
	}
	whole := names(t, everyKind)
	for _, test := range tests {
		if strings.HasPrefix(test.statement, "\" over") {
			continue
		}
		t.Run(test.damaged, func(t *testing.T) {
			if !strings.Contains(everyKind, test.statement) {
				t.Fatalf("everyKind has no %q", test.statement)
			}
			text := strings.Replace(everyKind, test.statement, test.damaged, 1)
			got := names(t, text)
			want := slices.DeleteFunc(slices.Clone(whole), func(name string) bool { return slices.Contains(strings.Fields(test.gone), name) })
			got = slices.DeleteFunc(got, func(name string) bool { return name == "?F" })
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			_, problems, _ := dbc.Parse("a.dbc", []byte(text))
			if test.line > 0 && !slices.ContainsFunc(problems, func(p dbc.Problem) bool { return p.Line == test.line }) {
				t.Errorf("got %v, want a problem in line %d", problems, test.line)
			}
			if worse := compareLost(t, everyKind, text, 20); worse != "" {
				t.Error(worse)
			}
		})
	}
}

// names lists the signals that can be decoded, sorted.
func names(t *testing.T, text string) []string {
	t.Helper()
	var list []string
	for _, s := range compile(t, text, false).Signals() {
		list = append(list, s.Name)
	}
	slices.Sort(list)
	return list
}

func compile(t testing.TB, text string, j1939 bool) *dbc.Plan {
	t.Helper()
	f, _, err := dbc.Parse("a.dbc", []byte(text))
	if err != nil {
		f = &dbc.File{Name: "a.dbc"}
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{f}, J1939: j1939}})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestLostLine deletes and damages each line of good files, one after the other: each value that is still decoded
// is as before, or absent.
func TestLostLine(t *testing.T) {
	texts := map[string]string{"every kind": everyKind}
	for _, name := range []string{"canmod-gps.dbc"} {
		texts[name] = recordedDBC(t, filepath.Join(recordings, name))
	}
	for _, f := range corpus(t) { // those that place signals by more than their SG_ statement
		if len(f.text) < 2500 && f.cantools && (strings.Contains(string(f.text), "SG_MUL_VAL_ ") || strings.Contains(string(f.text), "SIG_VALTYPE_ ")) {
			texts[f.name] = string(f.text)
		}
	}
	if *lossFiles != "" {
		files, err := filepath.Glob(*lossFiles)
		if err != nil || len(files) == 0 {
			t.Fatalf("-losses: got %v, %v; want files", files, err)
		}
		clear(texts)
		for _, name := range files {
			texts[name] = recordedDBC(t, name)
		}
	}
	for name, text := range texts {
		t.Run(filepath.Base(name), func(t *testing.T) {
			tried, wrong := 0, 0
			whole := newOriginal(t, text)
			lines := strings.SplitAfter(text, "\n")
			step := 1 + len(text)*len(text)>>31 // the work for each line grows with the file
			for i := 0; i < len(lines); i += step {
				line := lines[i]
				for _, damaged := range damages(lines, i) {
					lines[i] = damaged
					worse := whole.compare(t, strings.Join(lines, ""))
					lines[i] = line
					if tried++; worse != "" {
						if wrong++; wrong <= 10 {
							t.Errorf("line %d as %q: %s", i+1, damaged, worse)
						}
					}
				}
			}
			t.Logf("%d lines damaged in %d ways, %d wrong", len(lines), tried, wrong)
		})
	}
}

func recordedDBC(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

var pieces = regexp.MustCompile(`"[^"\n]*"?|[\w.+-]+|[^\s\w]`)

// damages gives forms in which a line may be lost: deleted, a piece unreadable, cut off behind a piece, and
// without a quote. What leaves no trace is not among them; see the comment in lost.go.
func damages(lines []string, i int) []string {
	line := lines[i]
	end := line[len(strings.TrimRight(line, "\n")):]
	var list []string
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	gap := i == 0 || strings.TrimSpace(lines[i-1]) == ""
	if word != "SIG_VALTYPE_" && (word != "BO_" || gap) && !strings.Contains(line, "SystemSignalLongSymbol") {
		list = append(list, "")
	}
	for _, at := range pieces.FindAllStringIndex(line, -1) {
		list = append(list, line[:at[0]]+"?"+line[at[1]:], line[:at[1]]+end)
		if piece := line[at[0]:at[1]]; strings.HasPrefix(piece, `"`) {
			list = append(list, line[:at[0]]+line[at[0]+1:])
			if len(piece) > 1 {
				list = append(list, line[:at[1]-1]+line[at[1]:])
			}
		}
	}
	return list
}

// compareLost gives a value that the damaged text gives and the original does not, "" when there is none.
func compareLost(t testing.TB, text, damaged string, rounds int) string {
	d := newOriginal(t, text)
	for range rounds {
		if worse := d.compare(t, damaged); worse != "" {
			return worse
		}
	}
	return ""
}

// original is an undamaged file.
type original struct {
	random *rand.Rand
	plan   *dbc.Plan
}

func newOriginal(t testing.TB, text string) *original {
	return &original{rand.New(rand.NewPCG(1, 2)), compile(t, text, false)}
}

// compare decodes frames of each message by the damaged file, too.
func (d *original) compare(t testing.TB, damaged string) string {
	other := compile(t, damaged, false)
	for _, m := range d.plan.Messages() {
		for range 4 {
			f := can.Frame{ID: m.ID, Len: uint8(min(m.Length, can.MaxData))}
			for i := range f.Data {
				f.Data[i] = byte(d.random.Uint32() >> d.random.IntN(9))
			}
			if i := d.random.IntN(4); i > 0 { // multiplexors mostly have small values
				f.Data[0], f.Data[1] = byte(d.random.IntN(9)), byte(d.random.IntN(9)*i*i)
			}
			want := valuesOf(d.plan, &f)
			for key, got := range valuesOf(other, &f) {
				for _, v := range got {
					if !slices.Contains(want[key], v) {
						return fmt.Sprintf("frame %X of %s: got %s = %v, want %v", f.Payload(), m.Name, key, v, want[key])
					}
				}
			}
		}
	}
	return ""
}

// valuesOf gives the physical values of a frame by where they are, and by name.
func valuesOf(plan *dbc.Plan, f *can.Frame) map[string][]float64 {
	raw := make([]int64, plan.MaxSignals())
	layout, n := plan.Decode(0, f, raw)
	values := map[string][]float64{}
	for i := range n {
		s := &plan.Signals()[plan.Layouts()[layout].Signals[i]]
		at := fmt.Sprint(s.Start, "|", s.Length, s.BigEndian)
		if s.Mux != nil {
			at += s.Name
		}
		if v := s.Physical(raw[i]); !math.IsNaN(v) { // which equals nothing
			values[at] = append(values[at], v)
		}
	}
	return values
}

// TestLostMessage: frames of a message that cannot be read are not decoded as another one.
func TestLostMessage(t *testing.T) {
	const signal = " SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n"
	const first, wrong = "BO_ 2364540158 A: 8 X\n" + signal, "BO_ 2364540158 B: x X\n" + signal
	parse := func(text string) *dbc.File {
		f, _, err := dbc.Parse("a.dbc", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	tests := []struct {
		name   string
		files  []*dbc.File
		j1939  bool
		id     can.ID
		layout int
	}{
		{"of the same identifier", []*dbc.File{parse(first + wrong)}, false, 2364540158, dbc.Uncovered},
		{"before one of the same identifier", []*dbc.File{parse(wrong + first)}, false, 2364540158, 0},
		{"in a later file", []*dbc.File{parse(first), parse(wrong)}, false, 2364540158, dbc.Uncovered},
		{"in an earlier file", []*dbc.File{parse(wrong), parse(first)}, false, 2364540158, 0},
		{"of the same parameter group", []*dbc.File{parse(first + strings.Replace(wrong, "158", "123", 1))}, true, 2364540123, dbc.Uncovered},
		{"of other addresses", []*dbc.File{parse(first + strings.Replace(wrong, "158", "123", 1))}, true, 2364540158, 0},
	}
	for _, test := range tests {
		plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: test.files, J1939: test.j1939}})
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]int64, 1)
		if got, _ := plan.Decode(0, &can.Frame{ID: test.id, Len: 8}, raw); got != test.layout {
			t.Errorf("%s: got layout %d, want %d", test.name, got, test.layout)
		}
	}
}
