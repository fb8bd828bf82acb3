package drive_test

import (
	"slices"
	"strings"
	"testing"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
)

func TestCover(t *testing.T) {
	toyota, adas := source(t, "can0", "toyota_new_mc_pt", false), source(t, "can1", "toyota_adas", false)
	on := func(bus string, s dbc.Source) dbc.Source { s.Bus = bus; return s }
	truck := source(t, "can1", "j1939", true)
	marked := truck
	marked.J1939 = false
	plain := marked // without VFrameFormat in the file
	file := *truck.Files[0]
	file.Messages = nil
	for _, m := range truck.Files[0].Messages {
		m := *m
		m.J1939 = false
		file.Messages = append(file.Messages, &m)
	}
	plain.Files = []*dbc.File{&file}
	gps := source(t, "can2", "canmod-gps", false)
	tests := []struct {
		name, log string
		sources   []dbc.Source
		advice    []string // beginnings
	}{
		{"all fits", "truck1", []dbc.Source{truck, gps}, nil},
		{"all fits, cars", "rav4", []dbc.Source{toyota, adas}, nil},
		{"swapped", "rav4", []dbc.Source{on("can1", toyota), on("can0", adas)}, []string{
			"can0: toyota_adas.dbc knows",
			"can1: toyota_new_mc_pt.dbc knows",
		}},
		{"j1939 by the file", "truck1", []dbc.Source{marked, gps}, nil},
		{"j1939 forgotten", "truck1", []dbc.Source{plain, gps}, []string{"can1: j1939.dbc knows 0 % of its frames; j1939.dbc as J1939 knows"}},
		{"bus without a file", "truck1", []dbc.Source{truck, on("can7", gps)}, []string{
			"can2: no DBC; canmod-gps.dbc knows 100 %: use --dbc can2=canmod-gps.dbc",
			"can7: the log has no such bus; it has can1, can2",
		}},
		{"nothing fits", "ev6", []dbc.Source{on("can0", adas)}, []string{"can0: toyota_adas.dbc knows 0 % of its frames, and no other of the given files fits better"}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			l := scan(t, recordings+c.log+".log.zst")
			got, err := drive.Cover(l, c.sources)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Advice) != len(c.advice) {
				t.Fatalf("got %q, want %q", got.Advice, c.advice)
			}
			for i := range c.advice {
				if !strings.HasPrefix(got.Advice[i], c.advice[i]) {
					t.Errorf("got %q, want %q", got.Advice[i], c.advice[i])
				}
			}
			for i, b := range got.Buses {
				t.Logf("%s %v %.1f %% of %d", b.Bus, b.Files, 100*b.Share(), b.Frames)
				if b.Bus != l.Names()[i] || b.Known > b.Frames {
					t.Errorf("got %+v", b)
				}
			}
		})
	}
	swapped, err := drive.Cover(scan(t, recordings+"rav4.log.zst"), []dbc.Source{on("can1", toyota), on("can0", adas)})
	if err != nil || !slices.ContainsFunc(swapped.Advice, func(s string) bool { return strings.HasSuffix(s, "use --dbc can0=toyota_new_mc_pt.dbc") }) {
		t.Errorf("got %q, %v", swapped.Advice, err)
	}
}
