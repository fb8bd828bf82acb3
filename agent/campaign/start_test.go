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

// TestFirstBlock: frames may already be there when the agent starts; what was
// in force before takes them.
func TestFirstBlock(t *testing.T) {
	file, _, err := dbc.Parse("car.dbc", []byte("BO_ 1 Engine: 8 X\n SG_ Speed : 0|16@1+ (1,0) [0|0] \"rpm\" X\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // a choice between two that are ready is random
		c := campaign.New(campaign.Config{
			Catalogue: plan.Catalogue(), Save: func(protocol.SchemaHash, []byte) error { return nil },
			Release: func(*signals.Block) {}, Log: slog.New(slog.DiscardHandler),
		})
		apply, err := c.Prepare([]campaigns.Campaign{campaigns.Everything()})
		if err != nil {
			t.Fatal(err)
		}
		apply()
		in, out := make(chan *signals.Block, 1), make(chan *campaign.Block, 4)
		in <- &signals.Block{Rows: []signals.Row{{Time: 1, Layout: 0, Count: 1}}, Raw: []int64{700}}
		close(in)
		c.Run(t.Context(), in, out)
		rows := 0
		for b := range out {
			rows += len(b.Rows)
		}
		if rows != 1 {
			t.Fatalf("got %d rows, want the one of the first block", rows)
		}
	}
}
