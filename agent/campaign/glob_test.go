package campaign_test

import (
	"testing"

	"telltale.dev/agent/campaign"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/dbc"
)

// TestSlashInName: a star stands for every signal, also for those with a slash in their names.
func TestSlashInName(t *testing.T) {
	text := `BO_ 1 Battery: 8 X
 SG_ Potential : 0|16@1+ (1,0) [0|0] "V" X
 SG_ Other : 16|16@1+ (1,0) [0|0] "V" X
`
	file, _, err := dbc.Parse("car.dbc", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	file.Messages[0].Signals[0].Name = "Battery Potential / Power Input 1" // as a DBC file with long names has it
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"*.*.*": 2, "can0.Battery.*Power*": 1, "*.*.Battery Potential / Power Input ?": 1} {
		doc := campaigns.Everything()
		doc.Spec.Signals = map[string]campaigns.SignalSelector{"some": {Path: path}}
		p, err := campaign.Compile(plan.Catalogue(), []campaigns.Campaign{doc})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := len(p.Rules[0].Format.Schema.Signals); got != want {
			t.Errorf("%s: got %d signals, want %d", path, got, want)
		}
	}
}
