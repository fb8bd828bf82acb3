package dbc_test

import (
	"testing"

	"telltale.dev/protocol/dbc"
)

// FuzzParse reads any text; what can be read compiles, decodes random frames as the plain decoder does,
// and each problem stands in a line of the text.
func FuzzParse(f *testing.F) {
	for _, file := range corpus(f) {
		if len(file.text) < 1500 {
			f.Add(file.text)
		}
	}
	f.Add([]byte(nested))
	f.Add([]byte(eightSignals))
	f.Add([]byte(cycle(3) + wide(2)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			return
		}
		file, problems, err := dbc.Parse("fuzz.dbc", text)
		if err != nil {
			return
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(text)+1 || p.String() == "" {
				t.Errorf("got problem %q of a text of %d bytes", p, len(text))
			}
		}
		if file.Skipped > file.Statements+len(text) {
			t.Errorf("got %d of %d statements skipped", file.Skipped, file.Statements)
		}
		for _, j1939 := range []bool{false, true} {
			plan, problems, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}, J1939: j1939}})
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) == 0 && len(text) < 4096 {
				compareRandom(t, plan, 3)
			}
			for _, s := range plan.Signals() {
				s.Physical(-1)
				s.Text(-1)
			}
		}
	})
}
