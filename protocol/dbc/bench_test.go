package dbc_test

import (
	"testing"

	einride "go.einride.tech/can"
	"go.einride.tech/can/pkg/descriptor"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// eightSignals has what cars have: both byte orders, flags, counters, signed values, a checksum.
const eightSignals = `VERSION ""
BU_: ECU
BO_ 180 SPEED: 8 ECU
 SG_ ENCODER : 39|8@0+ (1,0) [0|255] "" ECU
 SG_ SPEED : 47|16@0+ (0.01,0) [0|250] "km/h" ECU
 SG_ CHECKSUM : 63|8@0+ (1,0) [0|255] "" ECU
 SG_ TORQUE : 4|12@1- (0.5,0) [-1024|1023] "Nm" ECU
 SG_ BRAKE : 0|1@1+ (1,0) [0|1] "" ECU
 SG_ GEAR : 1|3@1+ (1,0) [0|7] "" ECU
 SG_ YAW : 23|10@0- (0.244,0) [-125|125] "deg/s" ECU
 SG_ COUNTER : 26|4@1+ (1,0) [0|15] "" ECU
`

// BenchmarkDecode decodes one message of eight signals to raw integers, ours beside go.einride.tech/can's.
func BenchmarkDecode(b *testing.B) {
	plan := compileText(b, eightSignals, false)
	f := can.Frame{ID: 180, Len: 8}
	copy(f.Data[:], "\x12\x34\xA6\x78\x9A\xBC\xDE\xF0")
	raw := make([]int64, plan.MaxSignals())
	signals := einrideSignals(plan)
	data := einride.Data(f.Data[:8])
	layout, n := plan.Decode(0, &f, raw)
	for i, s := range plan.Layouts()[layout].Signals {
		if got := einrideRaw(signals[s], data); got != raw[i] || n != 8 {
			b.Fatalf("%s: got %d, einride reads %d", plan.Signals()[s].Name, raw[i], got)
		}
	}
	b.Run("telltale", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plan.Decode(0, &f, raw)
		}
		perSignal(b, b.N*8)
	})
	b.Run("einride", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i, s := range signals {
				raw[i] = einrideRaw(s, data)
			}
		}
		perSignal(b, b.N*8)
	})
}

// BenchmarkRAV4 decodes all frames of the recording; the einride side is spared the search for the message.
func BenchmarkRAV4(b *testing.B) {
	r := goldenLogs[0]
	plan := r.plan(b)
	bus, frames := r.frames(b)
	raw := make([]int64, plan.MaxSignals())
	b.Run("telltale", func(b *testing.B) {
		b.ReportAllocs()
		total := 0
		for b.Loop() {
			for i := range frames {
				_, n := plan.Decode(bus[i], &frames[i], raw)
				total += n
			}
		}
		perSignal(b, total)
	})
	signals := einrideSignals(plan)
	b.Run("einride", func(b *testing.B) {
		b.ReportAllocs()
		total := 0
		layouts := make([]int, len(frames))
		for i := range frames {
			layouts[i], _ = plan.Decode(bus[i], &frames[i], raw)
		}
		for b.Loop() {
			for i := range frames {
				if layouts[i] < 0 {
					continue
				}
				data := einride.Data(frames[i].Data[:8])
				for j, s := range plan.Layouts()[layouts[i]].Signals {
					raw[j] = einrideRaw(signals[s], data)
					total++
				}
			}
		}
		perSignal(b, total)
	})
}

func perSignal(b *testing.B, signals int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(signals), "ns/signal")
}

// einrideSignals gives einride's descriptors of a plan's signals.
func einrideSignals(plan *dbc.Plan) []*descriptor.Signal {
	var list []*descriptor.Signal
	for _, s := range plan.Signals() {
		list = append(list, &descriptor.Signal{
			Name: s.Name, Start: uint8(s.Start), Length: uint8(s.Length),
			IsBigEndian: s.BigEndian, IsSigned: s.Signed, Offset: s.Shift, Scale: s.Factor,
		})
	}
	return list
}

func einrideRaw(s *descriptor.Signal, data einride.Data) int64 {
	if s.IsSigned {
		return s.UnmarshalSigned(data)
	}
	return int64(s.UnmarshalUnsigned(data))
}

// compileText compiles one DBC text for bus can0.
func compileText(t testing.TB, text string, j1939 bool) *dbc.Plan {
	t.Helper()
	file, problems, err := dbc.Parse("test.dbc", []byte(text))
	if err != nil || len(problems) > 0 {
		t.Fatalf("parse: %v %v", problems, err)
	}
	plan, problems, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}, J1939: j1939}})
	if err != nil || len(problems) > 0 {
		t.Fatalf("compile: %v %v", problems, err)
	}
	return plan
}
