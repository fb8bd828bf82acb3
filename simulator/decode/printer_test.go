package decode_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/decode"
	"telltale.dev/simulator/drive"
)

const motor = `VERSION ""
BU_: ECU
BO_ 256 Motor: 4 ECU
 SG_ Speed : 0|16@1+ (0.25,-10) [0|0] "rpm" ECU
 SG_ State : 16|8@1+ (1,0) [0|0] "" ECU
BO_ 257 Door: 1 ECU
 SG_ Open : 0|8@1- (1,0) [0|0] "a,b" ECU
VAL_ 256 State 1 "on, and running" 0 "off" ;
`

const motorLog = "(1736152200.000001) can0 100#28000100\n(1736152200.5) can1 100#28000100\n(1736152201.25) can0 101#FF\n(1736152202.0) can0 100#29000000\n"

func compile(t *testing.T, bus string) *dbc.Plan {
	t.Helper()
	file, _, err := dbc.Parse("motor.dbc", []byte(motor))
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: bus, Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestForms: what the options add to the lines.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		name  string
		form  decode.Form
		globs []string
		want  string
	}{
		{"plain", decode.Form{}, nil, "0\tcan0\tMotor\tSpeed\t40\t0.0\trpm\n0\tcan0\tMotor\tState\t1\t1.0\t\n2\tcan0\tDoor\tOpen\t-1\t-1.0\ta,b\n" +
			"3\tcan0\tMotor\tSpeed\t41\t0.25\trpm\n3\tcan0\tMotor\tState\t0\t0.0\t\n"},
		{"header, time and text", decode.Form{Header: true, Time: true, Text: true}, []string{"State"}, "frame\ttime\tbus\tmessage\tsignal\traw\tvalue\tunit\ttext\n" +
			"0\t2025-01-06T08:30:00.000001Z\tcan0\tMotor\tState\t1\t1.0\t\ton, and running\n3\t2025-01-06T08:30:02.000000Z\tcan0\tMotor\tState\t0\t0.0\t\toff\n"},
		{"CSV", decode.Form{CSV: true}, []string{"State", "can0.Door.*"}, "frame,time,bus,message,signal,raw,value,unit,text\n" +
			"0,2025-01-06T08:30:00.000001Z,can0,Motor,State,1,1.0,,\"on, and running\"\n2,2025-01-06T08:30:01.250000Z,can0,Door,Open,-1,-1.0,\"a,b\",\n" +
			"3,2025-01-06T08:30:02.000000Z,can0,Motor,State,0,0.0,,off\n"},
		{"globs", decode.Form{}, []string{"O*", "*.Door.Open"}, "2\tcan0\tDoor\tOpen\t-1\t-1.0\ta,b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, err := drive.NewReader("x.log", strings.NewReader(motorLog))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			var text bytes.Buffer
			out := bufio.NewWriter(&text)
			p, err := decode.New(compile(t, "can0"), out, c.form, c.globs)
			if err != nil {
				t.Fatal(err)
			}
			frames := 0
			if err := p.Log(t.Context(), log, false, func(*drive.Recorded) error { frames++; return nil }); err != nil {
				t.Fatal(err)
			}
			if err := out.Flush(); err != nil || text.String() != c.want || frames != 4 {
				t.Errorf("got %v, %d frames and\n%s\nwant\n%s", err, frames, text.String(), c.want)
			}
		})
	}
}

// TestRounded: rounded values are exactly raw · factor + offset in decimal numbers; without the option they are those of float64.
func TestRounded(t *testing.T) {
	scales := [][2]string{{"0.01", "-67.67"}, {"0.1", "0"}, {"1E-3", "0.05"}, {"0.244", "-250"}, {"-0.0009765625", "12"}, {"3", "0.125"}, {"1.1e1", "0"}, {"0.30", "-1000000.1"}}
	var text strings.Builder
	for i, s := range scales {
		fmt.Fprintf(&text, "BO_ %d M%d: 8 X\n SG_ s : 0|16@1- (%s,%s) [0|0] \"\" X\n", i, i, s[0], s[1])
	}
	text.WriteString("BO_ 100 F: 4 X\n SG_ f : 0|32@1- (0.1,0) [0|0] \"\" X\nSIG_VALTYPE_ 100 f : 1;\nBO_ 101 L: 8 X\n SG_ l : 0|64@1+ (0.1,0) [0|0] \"\" X\n")
	file, _, err := dbc.Parse("x.dbc", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	decoded := func(log string, form decode.Form) (lines [][]string) {
		reader, err := drive.NewReader("x.log", strings.NewReader(log))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		var text bytes.Buffer
		out := bufio.NewWriter(&text)
		p, err := decode.New(plan, out, form, nil)
		if err == nil {
			err = p.Log(t.Context(), reader, false, nil)
		}
		if err != nil || out.Flush() != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			lines = append(lines, strings.Split(line, "\t"))
		}
		return lines
	}
	var log strings.Builder
	for i := range scales {
		for raw := range 1 << 12 {
			fmt.Fprintf(&log, "(1.0) can0 %03X#%02X%02X\n", i, raw&0xFF, raw*17>>8&0xFF)
		}
	}
	number := func(text string) *big.Rat {
		r, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("no number: %q", text)
		}
		return r
	}
	for _, f := range decoded(log.String(), decode.Form{Rounded: true}) {
		scale := scales[f[2][1]-'0']
		want := new(big.Rat).Mul(number(f[4]), number(scale[0]))
		if want.Add(want, number(scale[1])); number(f[5]).Cmp(want) != 0 {
			t.Fatalf("%s · %s + %s: got %s, want %s", f[4], scale[0], scale[1], f[5], want.FloatString(12))
		}
	}
	const one = "(1.0) can0 000#BB20\n(1.0) can0 064#0000803F\n(1.0) can0 065#FFFFFFFFFFFFFFFF\n"
	for form, want := range map[decode.Form]string{
		{}:              "16.120000000000005 0.1 1.8446744073709553e+18",
		{Rounded: true}: "16.12 0.1 1.8446744073709553e+18",
	} {
		var got []string
		for _, f := range decoded(one, form) {
			got = append(got, f[5])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v: got %q, want %q", form, got, want)
		}
	}
}

// TestNoMeasurement: what a J1939 signal does not measure is named in the place of its value.
func TestNoMeasurement(t *testing.T) {
	const engine = "VERSION \"\"\nBU_: ECU\nBO_ 2364540158 EEC1: 8 ECU\n SG_ Speed : 24|16@1+ (0.125,0) [0|0] \"rpm\" ECU\n" +
		" SG_ Mode : 0|2@1+ (1,0) [0|0] \"\" ECU\n SG_ Control : 2|2@1+ (1,0) [0|0] \"\" ECU\nVAL_ 2364540158 Control 2 \"torque control\" ;\n"
	file, _, err := dbc.Parse("engine.dbc", []byte(engine))
	if err != nil {
		t.Fatal(err)
	}
	for _, j1939 := range []bool{true, false} {
		plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}, J1939: j1939}})
		if err != nil {
			t.Fatal(err)
		}
		log, err := drive.NewReader("x.log", strings.NewReader("(1.0) can0 0CF004FE#FBFFFF00FAFFFFFF\n(2.0) can0 0CF004FE#FEFFFF00FEFFFFFF\n(3.0) can0 0CF004FE#F7FFFFFFFFFFFFFF\n"))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		out := bufio.NewWriter(&text)
		p, err := decode.New(plan, out, decode.Form{}, nil)
		if err == nil {
			err = p.Log(t.Context(), log, false, nil)
		}
		if err := errors.Join(err, out.Flush(), log.Close()); err != nil {
			t.Fatal(err)
		}
		var values []string
		for line := range strings.Lines(text.String()) {
			values = append(values, strings.Split(line, "\t")[5])
		}
		want := []string{"not_available", "2.0", "8000.0", "error", "not_available", "error", "not_available", "1.0", "not_available"}
		if !j1939 {
			want = []string{"3.0", "2.0", "8000.0", "2.0", "3.0", "8128.0", "3.0", "1.0", "8191.875"}
		}
		if !slices.Equal(values, want) {
			t.Errorf("J1939 %v: got %q, want %q", j1939, values, want)
		}
	}
}

// TestGlobs: a glob that nothing matches, or that is none, is an error.
func TestGlobs(t *testing.T) {
	for glob, want := range map[string]string{
		"Sped": "--signal Sped: no signal of the DBC files matches",
		"[":    "--signal: expected a glob such as 'Engine*' or 'can0.Motor.*': syntax error in pattern",
	} {
		if _, err := decode.New(compile(t, "can0"), bufio.NewWriter(io.Discard), decode.Form{}, []string{glob}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", glob, err, want)
		}
	}
}

// TestLive: each line is there before the next frame comes, from the first on.
func TestLive(t *testing.T) {
	for _, c := range []struct {
		name, line string
		named      bool // the bus is that of the first frame
	}{
		{"log", "(1736152200.000001) can0 100#2%d000000\n", false},
		{"log with its only bus", "(1736152200.000001) can0 100#2%d000000\n", true},
		{"screen", "  can0  100   [4]  2%d 00 00 00\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, candump := io.Pipe()
			shown, out := io.Pipe()
			done := make(chan error, 1)
			go func() {
				reader, err := drive.Options{Now: time.Now}.NewReader("-", in)
				var log *decode.Input
				if err == nil {
					log, err = decode.Live(reader, c.named)
				}
				if err == nil {
					defer log.Close()
					var p *decode.Printer
					buffered := bufio.NewWriterSize(out, 1<<16)
					if p, err = decode.New(compile(t, "can0"), buffered, decode.Form{}, []string{"Speed"}); err == nil {
						err = log.Print(t.Context(), p)
					}
				}
				done <- err
			}()
			if _, err := candump.Write([]byte("\n\n")); err != nil { // tells no form
				t.Fatal(err)
			}
			lines := bufio.NewScanner(shown)
			for i := range 5 {
				if _, err := fmt.Fprintf(candump, c.line, i); err != nil {
					t.Fatal(err)
				}
				if !lines.Scan() {
					t.Fatal(lines.Err())
				}
				if want := fmt.Sprintf("%d\tcan0\tMotor\tSpeed\t%d\t", i, 0x20+i); !strings.HasPrefix(lines.Text(), want) {
					t.Errorf("got %q, want %q", lines.Text(), want)
				}
			}
			candump.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSeenEndsIt: an error of seen ends the log.
func TestSeenEndsIt(t *testing.T) {
	log, err := drive.NewReader("x.log", strings.NewReader(motorLog))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, err := decode.New(compile(t, "can0"), bufio.NewWriter(io.Discard), decode.Form{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Log(t.Context(), log, false, func(*drive.Recorded) error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Errorf("got %v, want %v", err, io.ErrShortWrite)
	}
}
