package lake_test

import (
	"fmt"
	"math"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// TestValues: raw holds each integer that it can, raw_bits what is on the bus else, and what a
// J1939 signal does not measure has no value.
func TestValues(t *testing.T) {
	double := func(v float64) int64 { return int64(math.Float64bits(v)) }
	single := func(v float32) int64 { return signal.Float32(math.Float32bits(v)) }
	on := func(bits int, j1939 bool) *signal.Bits {
		return &signal.Bits{ID: can.Extended | 0x18FEF200, J1939: j1939, Length: bits}
	}
	table := map[int64]string{2: "Error", 3: "Not available"}
	for _, c := range []struct {
		name string
		def  signal.Signal
		raw  int64
		want string // value, raw, raw_bits, text, quality
	}{
		{"zero", signal.Signal{CAN: on(64, false)}, 0, "0 0 null null null"},
		{"largest with a sign", signal.Signal{CAN: on(64, false)}, math.MaxInt64, "9.223372036854776e+18 9223372036854775807 null null null"},
		{"smallest without", signal.Signal{CAN: on(64, false)}, math.MinInt64, "9.223372036854776e+18 null 9223372036854775808 null null"},
		{"largest without", signal.Signal{CAN: on(64, false)}, -1, "1.8446744073709552e+19 null 18446744073709551615 null null"},
		{"signed", signal.Signal{CAN: on(64, false), Signed: true}, math.MinInt64, "-9.223372036854776e+18 -9223372036854775808 null null null"},
		{"float", signal.Signal{CAN: on(32, false), IEEE: 32}, single(12.5), "12.5 null 1095237632 null null"},
		{"float -0", signal.Signal{CAN: on(32, false), IEEE: 32}, single(float32(math.Copysign(0, -1))), "0 null 2147483648 null null"},
		{"float NaN", signal.Signal{CAN: on(32, false), IEEE: 32}, signal.Float32(0xFFC00001), "NaN null 4290772993 null null"},
		{"float infinity", signal.Signal{CAN: on(32, false), IEEE: 32}, single(float32(math.Inf(-1))), "-Inf null 4286578688 null null"},
		{"float denormal", signal.Signal{CAN: on(32, false), IEEE: 32}, single(math.SmallestNonzeroFloat32), "1.401298464324817e-45 null 1 null null"},
		{"double", signal.Signal{CAN: on(64, false), IEEE: 64}, double(-0.5), "-0.5 null 13826050856027422720 null null"},
		{"double NaN", signal.Signal{CAN: on(64, false), IEEE: 64}, double(math.NaN()), "NaN null 9221120237041090561 null null"},
		{"double denormal", signal.Signal{CAN: on(64, false), IEEE: 64}, 1, "5e-324 null 1 null null"},
		{"J1939 measured", signal.Signal{CAN: on(16, true), Scale: "0.05"}, 0xFAFF, "3212.75 64255 null null null"},
		{"J1939 error", signal.Signal{CAN: on(16, true), Scale: "0.05"}, 0xFE00, "null 65024 null null error"},
		{"J1939 not available", signal.Signal{CAN: on(16, true), Scale: "0.05"}, 0xFFFF, "null 65535 null null not_available"},
		{"J1939 state", signal.Signal{CAN: on(2, true), Values: table}, 1, "1 1 null null null"},
		{"J1939 state of error", signal.Signal{CAN: on(2, true), Values: table}, 2, "null 2 null Error error"},
		{"J1939 state not available", signal.Signal{CAN: on(2, true), Values: table}, 3, "null 3 null Not available not_available"},
		{"the same without J1939", signal.Signal{CAN: on(16, false)}, 0xFFFF, "65535 65535 null null null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.def.Name, c.def.Message, c.def.Bus = "S", "M", "can0"
			s := &schemas.Schema{Version: schemas.Version1, Campaign: "everything", Rule: "all", Tick: 1000, Mode: protocol.ModeAll,
				Signals: []signal.Signal{c.def}, Groups: [][]uint32{{0}}}
			dir := t.TempDir()
			l := open(t, dir)
			b := &batches.Batch{Rows: []batches.GroupRows{{Time: []int64{start.UnixMicro()}, Columns: [][]int64{{c.raw}}}}}
			b.ID.Seq = 1
			appendAll(t, l, s, b)
			if err := l.Commit(1, 1+1, nil); err != nil {
				t.Fatal(err)
			}
			rows := read(t, dir)
			if len(rows) != 1 {
				t.Fatalf("got %d rows, want 1", len(rows))
			}
			r := rows[0]
			if got := fmt.Sprint(show(r.Value), " ", show(r.Raw), " ", show(r.Bits), " ", show(r.Text), " ", show(r.Validity)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
