package campaign_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/campaign"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/signal"
)

// catalogueOf is that of a DBC file on can0.
func catalogueOf(t *testing.T, text string) *signal.Catalogue {
	t.Helper()
	file, _, err := dbc.Parse("car.dbc", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Catalogue()
}

// TestNearNames: a campaign that asks for an unknown signal is told which ones are called nearly so.
func TestNearNames(t *testing.T) {
	c := catalogueOf(t, `BO_ 1 SPEED: 8 X
 SG_ SPEED : 0|16@1+ (1,0) [0|0] "km/h" X
 SG_ ENCODER : 16|16@1+ (1,0) [0|0] "" X
BO_ 2 WHEEL_SPEEDS: 8 X
 SG_ WHEEL_SPEED_FL : 0|16@1+ (1,0) [0|0] "" X
 SG_ WHEEL_SPEED_FR : 16|16@1+ (1,0) [0|0] "" X
`)
	for path, want := range map[string]string{
		"can0.SPEED.SPED":               "; near it: can0.SPEED.SPEED",
		"can0.speed.speed":              "; near it: can0.SPEED.SPEED",
		"can1.SPEED.SPEED":              "; near it: can0.SPEED.SPEED",
		"can0.WHEEL_SPEED.*_FL":         "; near it: can0.WHEEL_SPEEDS.WHEEL_SPEED_FL, can0.WHEEL_SPEEDS.WHEEL_SPEED_FR",
		"can0.WHEEL_SPEEDS.WHEELSPEED?": "; near it: can0.WHEEL_SPEEDS.WHEEL_SPEED_FL, can0.WHEEL_SPEEDS.WHEEL_SPEED_FR",
		"can0.NONE.RADIO":               "",
	} {
		doc := campaigns.Everything()
		doc.Spec.Signals = map[string]campaigns.SignalSelector{"some": {Path: path}}
		err := campaign.Check(c, &doc)
		if err == nil || !errors.Is(err, campaign.ErrUnknownSignal) || !strings.HasSuffix(err.Error(), "no signal of this vehicle matches "+path+want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// TestNearNamesAreBounded: a large plan and a hostile pattern cost little.
func TestNearNamesAreBounded(t *testing.T) {
	var text strings.Builder
	for m := range 400 {
		fmt.Fprintf(&text, "BO_ %d %s: 64 X\n", m+1, strings.Repeat("m", 100)+fmt.Sprint(m))
		for s := range 25 {
			fmt.Fprintf(&text, " SG_ %s : %d|8@1+ (1,0) [0|0] \"\" X\n", strings.Repeat("s", 100)+fmt.Sprint(s), s*8)
		}
	}
	c := catalogueOf(t, text.String())
	doc := campaigns.Everything()
	doc.Spec.Signals = map[string]campaigns.SignalSelector{"some": {Path: strings.Repeat("*m?", 60) + "." + strings.Repeat("*", 200) + "x.y"}}
	began := time.Now()
	if err := campaign.Check(c, &doc); err == nil || len(err.Error()) > 1000 {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
