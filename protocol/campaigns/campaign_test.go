package campaigns_test

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
)

// good gives a campaign that uses everything.
func good() *campaigns.Campaign {
	c := campaigns.Everything()
	c.Metadata = campaigns.Metadata{ID: "severe-braking", Revision: 7}
	c.Spec = campaigns.Spec{
		Signals: map[string]campaigns.SignalSelector{"speed": {Path: "can0.SPEED.*"}, "brake": {Path: "*.BRAKE.PRESSURE"}},
		Collect: []campaigns.Rule{
			{ID: "all"}, {ID: "slow", Every: "1s", Signals: []string{"speed"}}, {ID: "edges", OnChange: true, Signals: []string{"brake", "speed"}},
		},
		Priority: "CS5", Purpose: "product-improvement",
		Encoding: campaigns.Encoding{Batch: campaigns.BatchLimits{Age: "10s", Bytes: "64KiB"}},
	}
	return &c
}

func TestValidate(t *testing.T) {
	rules := func(n int) (list []campaigns.Rule) {
		for i := range n {
			list = append(list, campaigns.Rule{ID: "r" + strconv.Itoa(i)})
		}
		return list
	}
	for _, c := range []struct {
		field  string // in the error; "": good
		change func(*campaigns.Campaign)
	}{
		{"", func(*campaigns.Campaign) {}},
		{"", func(c *campaigns.Campaign) { *c = campaigns.Everything() }},
		{"", func(c *campaigns.Campaign) { c.Spec.Collect = rules(campaigns.MaxRules) }},
		{"", func(c *campaigns.Campaign) { c.Spec.Collect[1].Every = "24h" }},
		{"", func(c *campaigns.Campaign) {
			c.Spec.Encoding.Batch = campaigns.BatchLimits{Age: "100ms", Bytes: "192KiB"}
			c.Spec.Encoding.Tick = "10us"
		}},
		{"apiVersion", func(c *campaigns.Campaign) { c.APIVersion = "campaigns.v2" }},
		{"kind", func(c *campaigns.Campaign) { c.Kind = "campaign" }},
		{"metadata.id", func(c *campaigns.Campaign) { c.Metadata.ID = "" }},
		{"metadata.id", func(c *campaigns.Campaign) { c.Metadata.ID = "a.b" }},
		{"metadata.revision", func(c *campaigns.Campaign) { c.Metadata.Revision = 0 }},
		{"spec.signals.speed.path", func(c *campaigns.Campaign) { c.Spec.Signals["speed"] = campaigns.SignalSelector{Path: "SPEED"} }},
		{"spec.signals.speed.path", func(c *campaigns.Campaign) { c.Spec.Signals["speed"] = campaigns.SignalSelector{Path: "can0.[.SPEED"} }},
		{"spec.collect", func(c *campaigns.Campaign) { c.Spec.Collect = nil }},
		{"spec.collect", func(c *campaigns.Campaign) { c.Spec.Collect = rules(campaigns.MaxRules + 1) }},
		{"spec.collect[1].id", func(c *campaigns.Campaign) { c.Spec.Collect[1].ID = "" }},
		{"spec.collect[2].id", func(c *campaigns.Campaign) { c.Spec.Collect[2].ID = "all" }},
		{"spec.collect[2]", func(c *campaigns.Campaign) { c.Spec.Collect[2].Every = "1s" }},
		{"spec.collect[1].every", func(c *campaigns.Campaign) { c.Spec.Collect[1].Every = "often" }},
		{"spec.collect[1].every", func(c *campaigns.Campaign) { c.Spec.Collect[1].Every = "0s" }},
		{"spec.collect[1].every", func(c *campaigns.Campaign) { c.Spec.Collect[1].Every = "1500us" }},
		{"spec.collect[1].every", func(c *campaigns.Campaign) { c.Spec.Collect[1].Every = "25h" }},
		{"spec.collect[1].every", func(c *campaigns.Campaign) { c.Spec.Collect[1].Every = "-1s" }},
		{"spec.collect[1].signals", func(c *campaigns.Campaign) { c.Spec.Collect[1].Signals = []string{"spede"} }},
		{"spec.priority", func(c *campaigns.Campaign) { c.Spec.Priority = "high" }},
		{"spec.purpose", func(c *campaigns.Campaign) { c.Spec.Purpose = "to know\nmore" }},
		{"spec.encoding.tick", func(c *campaigns.Campaign) { c.Spec.Encoding.Tick = "2us" }},
		{"spec.encoding.tick", func(c *campaigns.Campaign) { c.Spec.Encoding.Tick = "1000us" }},
		{"spec.encoding.tick", func(c *campaigns.Campaign) { c.Spec.Encoding.Tick = "1" }},
		{"spec.encoding.batch.age", func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Age = "99ms" }},
		{"spec.encoding.batch.age", func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Age = "61m" }},
		{"spec.encoding.batch.bytes", func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Bytes = "1023" }},
		{"spec.encoding.batch.bytes", func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Bytes = "193KiB" }},
		{"spec.encoding.batch.bytes", func(c *campaigns.Campaign) { c.Spec.Encoding.Batch.Bytes = "many" }},
		{"spec.signals", func(c *campaigns.Campaign) {
			for i := range campaigns.MaxAliases {
				c.Spec.Signals[fmt.Sprint("s", i)] = campaigns.SignalSelector{Path: "a.b.c"}
			}
		}},
	} {
		doc := good()
		c.change(doc)
		err := doc.Validate()
		switch {
		case c.field == "" && err != nil:
			t.Errorf("got %v, want none", err)
		case c.field != "" && (!errors.Is(err, campaigns.ErrInvalid) || !strings.HasPrefix(err.Error(), c.field+": ")):
			t.Errorf("got %v, want one about %s", err, c.field)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := campaigns.Everything()
	rule, limits := c.Spec.Collect[0], c.Spec.Encoding.Batch
	if c.Class() != protocol.CS1 || rule.Mode() != protocol.ModeAll || rule.Interval() != 0 ||
		limits.AgeLimit() != campaigns.DefaultBatchAge || limits.SizeLimit() != campaigns.DefaultBatch {
		t.Errorf("got %v %v %v %v %v, want the defaults", c.Class(), rule.Mode(), rule.Interval(), limits.AgeLimit(), limits.SizeLimit())
	}
	if c.SmallAge() != campaigns.SmallBatchAge {
		t.Errorf("got %v for small batches in bulk, want %v", c.SmallAge(), campaigns.SmallBatchAge)
	}
	c.Spec.Encoding.Batch.Age = "10s"
	if c.SmallAge() != 10*time.Second {
		t.Errorf("got %v for small batches, want the campaign's own 10s", c.SmallAge())
	}
	c.Spec.Encoding.Batch.Age, c.Spec.Priority = "", "CS3"
	if c.SmallAge() != campaigns.DefaultBatchAge {
		t.Errorf("got %v for small batches that are hot, want %v", c.SmallAge(), campaigns.DefaultBatchAge)
	}
	c = *good()
	slow, edges := c.Spec.Collect[1], c.Spec.Collect[2]
	if c.Class() != protocol.CS5 || slow.Mode() != protocol.ModeGrid || slow.Interval() != time.Second || edges.Mode() != protocol.ModeOnChange {
		t.Errorf("got %v %v %v %v", c.Class(), slow.Mode(), slow.Interval(), edges.Mode())
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "512": 512, "1B": 1, "64KiB": 64 << 10, "20MiB": 20 << 20, "1GiB": 1 << 30, "4GiB": 4 << 30, "007": 7,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := protocol.ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "B", "KiB", "-1", "+1", "1.5KiB", "1kB", "1 KiB", "1KiBB", "0x10", "1_000", "99999999999999999999", "9007199254740993KiB", strings.Repeat("9", 1000)} {
		if got, err := protocol.ParseSize(bad); err == nil || got != 0 || len(err.Error()) > 100 {
			t.Errorf("%.20s: got %d, %v, want a short error", bad, got, err)
		}
	}
}

// FuzzParseSize: what parses is a number of bytes that can be, and longer texts in bytes mean the same.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64KiB", "-1", "9223372036854775807", "1GiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := protocol.ParseSize(s)
		if err != nil {
			return
		}
		if again, err := protocol.ParseSize(strconv.FormatInt(n, 10)); n < 0 || err != nil || again != n {
			t.Errorf("%q: got %d, then %d, %v", s, n, again, err)
		}
	})
}
