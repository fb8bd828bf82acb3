package campaign_test

import (
	"log/slog"
	"testing"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
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
		c := campaign.New(campaign.Config{
			Catalogue: plan.Catalogue(), Save: func(protocol.SchemaHash, []byte) error { return nil },
			Release: func(*signals.Block) {}, Log: slog.New(slog.DiscardHandler),
		})
		doc := campaigns.Everything()
		doc.Spec.Signals = map[string]campaigns.SignalSelector{"some": {Path: path}}
		apply, err := c.Prepare([]campaigns.Campaign{doc})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		apply()
		in, out := make(chan *signals.Block), make(chan *campaign.Block, 2)
		close(in)
		c.Run(t.Context(), in, out)
		b := <-out
		if got := len(b.Rules[0].Schema.Signals); got != want {
			t.Errorf("%s: got %d signals, want %d", path, got, want)
		}
	}
}
