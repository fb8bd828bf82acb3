package dbc_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"telltale.dev/protocol/dbc"
)

// outline writes what matters of a file in one line per message and signal.
func outline(f *dbc.File) string {
	var b strings.Builder
	for _, m := range f.Messages {
		fmt.Fprintf(&b, "%X %s %d", uint32(m.ID), m.Name, m.Length)
		if m.FD {
			b.WriteString(" fd")
		}
		if m.J1939 {
			b.WriteString(" j1939")
		}
		if m.CycleTime > 0 {
			fmt.Fprintf(&b, " %v", m.CycleTime)
		}
		for _, s := range m.Signals {
			order := map[bool]string{false: "1", true: "0"}[s.BigEndian] + map[bool]string{false: "+", true: "-"}[s.Signed]
			fmt.Fprintf(&b, "; %s %d|%d@%s(%s,%s)%s", s.Name, s.Start, s.Length, order, s.Scale, s.Offset, s.Unit)
			if s.IEEE != 0 {
				fmt.Fprintf(&b, " float%d", s.IEEE)
			}
			if s.Multiplexor {
				b.WriteString(" M")
			}
			if s.Mux != nil {
				fmt.Fprintf(&b, " %s%v", s.Mux.Selector, s.Mux.Ranges)
			}
			if s.SPN != 0 {
				fmt.Fprintf(&b, " spn%d", s.SPN)
			}
			if len(s.Values) > 0 {
				fmt.Fprintf(&b, " %v", s.Values)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestForms reads what real files hold, without a problem.
func TestForms(t *testing.T) {
	for _, test := range forms {
		t.Run(test.name, func(t *testing.T) {
			f, problems, err := dbc.Parse("a.dbc", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) > 0 || f.Skipped > 0 {
				t.Errorf("got problems %v, want none", problems)
			}
			if got := outline(f); got != test.want {
				t.Errorf("got  %swant %s", got, test.want)
			}
		})
	}
}

// TestRecovery reads files with errors: each is named with its line, and the rest is read.
func TestRecovery(t *testing.T) {
	for _, test := range faults {
		t.Run(test.name, func(t *testing.T) {
			f, problems, err := dbc.Parse("a.dbc", []byte(before+test.text+after))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				line, _ := strings.CutPrefix(p.String(), "a.dbc:")
				if p.Skipped {
					line += " skipped"
				}
				got = append(got, line)
			}
			if !slices.Equal(got, test.problems) {
				t.Errorf("got problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.problems, "\n"))
			}
			if got := outline(f); got != test.want+rest {
				t.Errorf("got\n%swant\n%s", got, test.want+rest)
			}
			if wantSkipped := strings.Count(strings.Join(got, "\n"), " skipped"); f.Skipped < wantSkipped {
				t.Errorf("got %d statements skipped, want %d", f.Skipped, wantSkipped)
			}
		})
	}
}

func TestNoDBC(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "prose": "Dear reader,\nthis is a letter.\n", "log": "(1.5) can0 123#1122\n", "binary": "\x7fELF\x02\x01\x00\x00", "open quote": "\"",
	} {
		if f, _, err := dbc.Parse("a.dbc", []byte(text)); !errors.Is(err, dbc.ErrNotDBC) || f != nil || !strings.HasPrefix(err.Error(), "a.dbc: ") {
			t.Errorf("%s: got %v, want ErrNotDBC", name, err)
		}
	}
	if _, _, err := dbc.Parse("a.dbc", make([]byte, dbc.MaxText+1)); !errors.Is(err, dbc.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if f, problems, err := dbc.Parse("a.dbc", []byte(`VERSION "1.0"`)); err != nil || f.Version != "1.0" || len(f.Messages) != 0 || len(problems) != 0 {
		t.Errorf("a file without messages: got %v %v %v", f, problems, err)
	}
}

func TestComments(t *testing.T) {
	f, problems, err := dbc.Parse("a.dbc", []byte("BO_ 1 A: 8 X\r\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\r\nCM_ BO_ 1 \"two\r\nBO_ 7 lines\";\r\nCM_ SG_ 1 S \"gr\xFCn\";\r\nBO_ x"))
	if err != nil || len(problems) != 1 || problems[0].Line != 6 {
		t.Fatalf("got %v %v, want one problem in line 6", problems, err)
	}
	if m := f.Messages[0]; m.Comment != "two\nBO_ 7 lines" || m.Signals[0].Comment != "grün" {
		t.Errorf("got %q %q", m.Comment, m.Signals[0].Comment)
	}
}

func TestSignal(t *testing.T) {
	float := func(v float64) int64 { return int64(math.Float64bits(v)) }
	table := []dbc.Value{{Raw: -1, Text: "none"}, {Raw: 0, Text: "off"}, {Raw: 7, Text: "on"}}
	tests := []struct {
		name     string
		signal   dbc.Signal
		raw      int64
		physical float64
		text     string
	}{
		{"unsigned", dbc.Signal{Factor: 0.5, Shift: -40, Values: table}, 7, -36.5, "on"},
		{"signed", dbc.Signal{Factor: 2, Signed: true, Values: table}, -1, -2, "none"},
		{"64 bits", dbc.Signal{Factor: 1, Length: 64}, -1, math.MaxUint64, ""},
		{"beyond the maximum", dbc.Signal{Factor: 1, Max: 10}, 200, 200, ""},
		{"float", dbc.Signal{Factor: 2, Shift: 1, IEEE: 32, Values: table}, float(1.25), 3.5, ""},
		{"float with text", dbc.Signal{Factor: 1, IEEE: 64, Values: table}, float(7), 7, "on"},
		{"two roundings", dbc.Signal{Factor: 0.1, Shift: -0.3}, 3, 3*0.1 + float64(-0.3) + 0, ""},
	}
	for _, test := range tests {
		got := test.signal.Physical(test.raw)
		if test.name == "two roundings" {
			product := 0.1 * float64(test.raw)
			test.physical = product - 0.3
		}
		if got != test.physical {
			t.Errorf("%s: got %v, want %v", test.name, got, test.physical)
		}
		if text, ok := test.signal.Text(test.raw); text != test.text || ok != (test.text != "") {
			t.Errorf("%s: got text %q %v, want %q", test.name, text, ok, test.text)
		}
	}
	if text, ok := (&dbc.Signal{IEEE: 64, Values: table}).Text(float(math.NaN())); ok {
		t.Errorf("got text %q for NaN", text)
	}
}

// TestShared makes sure that a file is only read by Compile.
func TestShared(t *testing.T) {
	read := func() *dbc.File {
		f, _, err := dbc.Parse("a.dbc", []byte(eightSignals))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := read()
	for range 2 {
		if _, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{f}}}); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(f, read()) {
		t.Error("Compile changed the file")
	}
}
