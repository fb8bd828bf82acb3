package can_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol/can"
)

func frame(t int64, id can.ID, flags can.Flags, data ...byte) can.Frame {
	f := can.Frame{Time: t, ID: id, Flags: flags, Len: uint8(len(data))}
	copy(f.Data[:], data)
	return f
}

func remote(t int64, id can.ID, length uint8) can.Frame {
	return can.Frame{Time: t, ID: id, Flags: can.Remote, Len: length}
}

// canonical holds lines that re-encode to the same bytes.
var canonical = []struct {
	name, line, bus string
	want            can.Frame
}{
	{"classic", "(1627274455.012500) can1 7E8#03412F8C00000000", "can1", frame(1627274455012500, 0x7E8, 0, 3, 0x41, 0x2F, 0x8C, 0, 0, 0, 0)},
	{"no data", "(0.000001) vcan0 000#", "vcan0", frame(1, 0, 0)},
	{"extended", "(1.500000) can2 18FEF100#F7", "can2", frame(1_500_000, 0x18FEF100|can.Extended, 0, 0xF7)},
	{"fd", "(1.000000) can0 123##0AB", "can0", frame(1_000_000, 0x123, can.FD, 0xAB)},
	{"fd with bit rate switch", "(1.000000) can0 123##1AB", "can0", frame(1_000_000, 0x123, can.FD|can.BRS, 0xAB)},
	{"fd error passive", "(1.000000) can0 00000123##3", "can0", frame(1_000_000, 0x123|can.Extended, can.FD|can.BRS|can.ESI)},
	{"fd of 12 bytes", "(1.000000) can0 123##0000102030405060708090A0B", "can0", frame(1_000_000, 0x123, can.FD, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)},
	{"remote", "(1.000000) can0 123#R", "can0", remote(1_000_000, 0x123, 0)},
	{"remote with length", "(1.000000) can0 123#R8", "can0", remote(1_000_000, 0x123, 8)},
	{"error", "(1.000000) can0 20000004#0004000000000000", "can0", frame(1_000_000, 4, can.Error, 0, 4, 0, 0, 0, 0, 0, 0)},
}

func TestCandumpCanonical(t *testing.T) {
	for _, c := range canonical {
		t.Run(c.name, func(t *testing.T) {
			var got can.Frame
			bus, err := can.ParseCandump(c.line, &got)
			if err != nil {
				t.Fatal(err)
			}
			if bus != c.bus || got != c.want {
				t.Errorf("got %q %+v, want %q %+v", bus, got, c.bus, c.want)
			}
			if again := string(can.AppendCandump(nil, bus, &got)); again != c.line {
				t.Errorf("got line %q, want %q", again, c.line)
			}
		})
	}
}

func TestCandumpVariants(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"nanoseconds are cut", "(1.123456999) can0 1FF#00", "(1.123456) can0 1FF#00"},
		{"the year 2262", "(9223372035.999999) can0 1FF#00", "(9223372035.999999) can0 1FF#00"},
		{"tenths", "(1.5) can0 1FF#00", "(1.500000) can0 1FF#00"},
		{"padded seconds", "(0000046408.584930) can0 1FF#00", "(46408.584930) can0 1FF#00"},
		{"lower case", "(1.000000) can0 1ff#abcd", "(1.000000) can0 1FF#ABCD"},
		{"direction", "(1.000000) can0 1FF#AB R", "(1.000000) can0 1FF#AB"},
		{"direction and comment", "(1.000000) can0 1FF#AB T ; ignition on", "(1.000000) can0 1FF#AB"},
		{"comment", "(1.000000) can0 1FF#AB # ignition on", "(1.000000) can0 1FF#AB"},
		{"line end", "(1.000000) can0 1FF#AB\r\n", "(1.000000) can0 1FF#AB"},
		{"wide spaces", " (1.000000)  can0\t1FF#AB", "(1.000000) can0 1FF#AB"},
		{"points", "(1.000000) can0 1FF#AB.CD", "(1.000000) can0 1FF#ABCD"},
		{"raw dlc", "(1.000000) can0 1FF#0011223344556677_F", "(1.000000) can0 1FF#0011223344556677"},
		{"raw dlc of a remote frame", "(1.000000) can0 1FF#R8_9", "(1.000000) can0 1FF#R8"},
		{"fd format flag", "(1.000000) can0 1FF##5AB", "(1.000000) can0 1FF##1AB"},
		{"fd of 12 bytes written as classic", "(1.000000) can0 0C9#000102030405060708090A0B T", "(1.000000) can0 0C9##0000102030405060708090A0B"},
		{"fd of 16 bytes with points", "(1.000000) can0 000000C9#00.01.02.03.04.05.06.07.08.09.0A.0B.0C.0D.0E.0F", "(1.000000) can0 000000C9##0000102030405060708090A0B0C0D0E0F"},
		{"fd of 64 bytes written as classic", "(1.000000) can0 0C9#" + strings.Repeat("5A", 64), "(1.000000) can0 0C9##0" + strings.Repeat("5A", 64)},
		{"remote of length 0", "(1.000000) can0 1FF#R0 R", "(1.000000) can0 1FF#R"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			var f can.Frame
			bus, err := can.ParseCandump([]byte(c.line), &f)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(can.AppendCandump(nil, string(bus), &f)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCandumpErrors(t *testing.T) {
	tests := []struct {
		name, line string
		column     int
	}{
		{"empty", "", 1},
		{"no time", "can0 123#00", 1},
		{"no seconds", "(.5) can0 123#00", 2},
		{"no fraction", "(12) can0 123#00", 4},
		{"open time", "(12.5 can0 123#00", 6},
		{"seconds too large", "(1234567890123.5) can0 123#00", 12},
		{"the year 2263", "(9223372036.5) can0 123#00", 11},
		{"no bus", "(1.5) ", 7},
		{"no identifier", "(1.5) can0", 11},
		{"screen form", "(1.5) can0 123 [2] 00 00", 15},
		{"identifier of 4 digits", "(1.5) can0 1234#00", 12},
		{"identifier above 7FF", "(1.5) can0 800#00", 12},
		{"identifier above 29 bits", "(1.5) can0 40000000#00", 12},
		{"identifier of 9 digits", "(1.5) can0 123456789#00", 20},
		{"half a byte", "(1.5) can0 123#001", 19},
		{"9 bytes", "(1.5) can0 123#001122334455667788", 32},
		{"13 bytes", "(1.5) can0 123#00112233445566778899AABBCC", 32},
		{"65 bytes", "(1.5) can0 123#" + strings.Repeat("00", 65), 144},
		{"12 bytes of an error frame", "(1.5) can0 20000004#00112233445566778899AABB", 37},
		{"12 bytes and a data length code", "(1.5) can0 123#00112233445566778899AABB_C", 40},
		{"9 bytes of fd", "(1.5) can0 123##0001122334455667788", 36},
		{"no hex", "(1.5) can0 123#00XY", 18},
		{"fd flags", "(1.5) can0 123##X", 17},
		{"fd error frame", "(1.5) can0 20000004##0", 21},
		{"remote error frame", "(1.5) can0 20000004#R", 21},
		{"remote length", "(1.5) can0 123#R9", 17},
		{"raw dlc of a short remote frame", "(1.5) can0 123#R7_9", 18},
		{"words behind", "(1.5) can0 123#00 hello", 19},
		{"direction and more", "(1.5) can0 123#00 Rx", 20},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			var f can.Frame
			_, err := can.ParseCandump(c.line, &f)
			var syntax *can.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("got error %v, want a SyntaxError", err)
			}
			if syntax.Column != c.column || syntax.Expected == "" {
				t.Errorf("got %v, want column %d", err, c.column)
			}
		})
	}
}

func TestCandumpAllocatesNothing(t *testing.T) {
	line, buf, f := []byte(canonical[0].line), make([]byte, 0, 256), can.Frame{}
	if n := testing.AllocsPerRun(100, func() {
		bus, err := can.ParseCandump(line, &f)
		if err != nil || len(bus) == 0 {
			t.Fatal(err)
		}
		buf = can.AppendCandump(buf[:0], "can1", &f)
	}); n != 0 {
		t.Errorf("got %v allocations a line, want 0", n)
	}
}

// FuzzCandump checks that what parses has a canonical form that means the
// same, is stable, and that strings and bytes read alike.
func FuzzCandump(f *testing.F) {
	for _, c := range canonical {
		f.Add(c.line)
		f.Add(c.line + " R # note\r\n")
	}
	f.Add("(1.123456999) can0 1ff#ab.cd_9")
	f.Add("(1.0) vcan0 0C9#000102030405060708090A0B")
	f.Fuzz(func(t *testing.T, line string) {
		var first, second can.Frame
		bus, err := can.ParseCandump(line, &first)
		raw, rawErr := can.ParseCandump([]byte(line), &second)
		if (err == nil) != (rawErr == nil) {
			t.Fatalf("string: %v, bytes: %v", err, rawErr)
		}
		if err != nil {
			var syntax *can.SyntaxError
			if !errors.As(err, &syntax) || syntax.Column < 1 || syntax.Column > len(line)+1 {
				t.Fatalf("got error %v for a line of %d bytes", err, len(line))
			}
			return
		}
		if bus != string(raw) || first != second {
			t.Fatalf("string and bytes differ: %q %+v, %q %+v", bus, first, raw, second)
		}
		text := can.AppendCandump(nil, bus, &first)
		if _, err = can.ParseCandump(text, &second); err != nil || first != second {
			t.Fatalf("%q became %q: %+v, %v; want %+v", line, text, second, err, first)
		}
		if again := can.AppendCandump(nil, bus, &second); string(again) != string(text) {
			t.Fatalf("got %q, want %q", again, text)
		}
	})
}

func BenchmarkParseCandump(b *testing.B) {
	line := []byte(canonical[0].line)
	var f can.Frame
	b.ReportAllocs()
	for b.Loop() {
		if _, err := can.ParseCandump(line, &f); err != nil {
			b.Fatal(err)
		}
	}
}
