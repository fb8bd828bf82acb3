package scenario_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/scenario"
)

var result = scenario.Result{
	Name: "trip", Took: 12 * time.Second,
	Checks: []scenario.Check{
		{What: "presence of anna is online", Took: 20 * time.Millisecond},
		{What: "state of anna has A<B & \"C\"", Took: time.Second, Err: errors.New("it is\x00 not known ]]> \xff")},
	},
	Ledgers: []*ledger.Ledger{{FramesSent: 98800}},
}

func TestJUnit(t *testing.T) {
	var out bytes.Buffer
	if err := result.JUnit(&out); err != nil {
		t.Fatal(err)
	}
	var suite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Class   string `xml:"classname,attr"`
			Time    string `xml:"time,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(out.Bytes(), &suite); err != nil {
		t.Fatalf("got %v of %s", err, out.String())
	}
	if suite.Name != "trip" || suite.Tests != 2 || suite.Failures != 1 || len(suite.Cases) != 2 {
		t.Fatalf("got %+v", suite)
	}
	if c := suite.Cases[0]; c.Failure != nil || c.Time != "0.020" || c.Class != "trip" {
		t.Errorf("got %+v, want no failure after 0.020 s", c)
	}
	if c := suite.Cases[1]; c.Failure == nil || c.Name != result.Checks[1].What || !strings.Contains(c.Failure.Message, "not known") {
		t.Errorf("got %+v, want a failure", c)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	result.Table(&out)
	for _, want := range []string{"  ok      0.0s  presence of anna is online\n", "  FAIL    1.0s  state of anna has", "98,800\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want %q in it", out.String(), want)
		}
	}
	if got := result.Failed(); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

// TestScreenLive plays the screen's output on a terminal of our own: the block must
// stay one block, and what is said must stand above it, in order.
func TestScreenLive(t *testing.T) {
	var out bytes.Buffer
	s := scenario.NewScreen(&out, true)
	s.Say("  %s", "first")
	s.Show(scenario.View{Name: "trip", Share: 0.25, Frames: 12345, Presence: "online", Powered: true, Now: "first"})
	s.Say("second")
	s.Show(scenario.View{Name: "trip", Share: 0.5, Frames: 98800, BytesUp: 3 << 20, Presence: "lost", Now: "second"})
	lines := terminal(t, out.String())
	text := strings.Join(lines, "\n")
	if lines[0] != "  first" || lines[1] != "second" {
		t.Errorf("got %q, want first and second on top", lines[:2])
	}
	for want, n := range map[string]int{"50 %": 1, "25 %": 0, "98,800 frames": 1, "12,345": 0, "3.0 MiB up": 1, "lost, no power": 1, "now": 1} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("got %q %d times, want %d, in\n%s", want, got, n, text)
		}
	}
	s.End()
	if got := strings.TrimSpace(strings.Join(terminal(t, out.String()), "\n")); got != "first\nsecond" {
		t.Errorf("got %q, want only what was said", got)
	}
	s.Say("third")
	if lines := terminal(t, out.String()); lines[2] != "third" {
		t.Errorf("got %q, want third behind", lines)
	}
}

// terminal understands what the screen uses: \r, \n, cursor up, erase to the end of the line or screen.
func terminal(t *testing.T, text string) []string {
	t.Helper()
	lines, row, col := [][]rune{nil}, 0, 0
	for rest := []rune(text); len(rest) > 0; {
		switch {
		case rest[0] == '\n':
			row, col, rest = row+1, 0, rest[1:]
			if row == len(lines) {
				lines = append(lines, nil)
			}
		case rest[0] == '\r':
			col, rest = 0, rest[1:]
		case rest[0] == '\x1b':
			n, i := 0, 2
			if rest[i] == '?' {
				i++
			}
			for ; rest[i] >= '0' && rest[i] <= '9'; i++ {
				n = n*10 + int(rest[i]-'0')
			}
			switch rest[i] {
			case 'A':
				if row -= n; row < 0 {
					t.Fatalf("the cursor leaves the screen")
				}
			case 'J':
				lines = lines[:row+1]
				lines[row] = lines[row][:min(col, len(lines[row]))]
			case 'K':
				lines[row] = lines[row][:min(col, len(lines[row]))]
			case 'l', 'h':
			default:
				t.Fatalf("unknown sequence %q", string(rest[:i+1]))
			}
			rest = rest[i+1:]
		default:
			lines[row] = append(lines[row][:min(col, len(lines[row]))], append([]rune{rest[0]}, lines[row][min(col+1, len(lines[row])):]...)...)
			col, rest = col+1, rest[1:]
		}
	}
	plain := make([]string, len(lines))
	for i, line := range lines {
		plain[i] = string(line)
	}
	return plain
}

func TestScreenPlain(t *testing.T) {
	var out bytes.Buffer
	s := scenario.NewScreen(&out, false)
	s.Show(scenario.View{Name: "trip", Frames: 1000, Presence: "online", Powered: true})
	s.Show(scenario.View{Name: "trip", Frames: 2000, Presence: "online", Powered: true})
	s.Say("said")
	s.End()
	got := out.String()
	if strings.ContainsAny(got, "\x1b\r") || strings.Count(got, "\n") != 2 || !strings.Contains(got, "1,000 frames") || !strings.HasSuffix(got, "said\n") {
		t.Errorf("got %q, want two plain lines", got)
	}
}
