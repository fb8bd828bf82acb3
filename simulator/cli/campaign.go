package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"

	"telltale.dev/protocol/dbc"
)

type Campaign struct {
	Push  campaignPushCommand  `cmd:"" help:"Give a campaign to all vehicles, or take one back with a removal, and tell what they answer."`
	List  campaignListCommand  `cmd:"" help:"List the campaigns of a cloud."`
	Show  campaignShowCommand  `cmd:"" help:"Show a campaign and what each vehicle says of it."`
	Rm    campaignRmCommand    `cmd:"" help:"Take a campaign back from all vehicles."`
	Check campaignCheckCommand `cmd:"" help:"Say what is wrong with campaign files, and which signals they choose; needs no cloud."`
}

type campaignCheckCommand struct {
	DBC   []string `name:"dbc" sep:"none" placeholder:"NAME=FILE" help:"A DBC file for a bus of the vehicle. May be repeated."`
	J1939 []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
	Files []string `arg:"" help:"Campaigns or removals, YAML or CBOR."`
}

// Run prints one line for each file, and with --dbc one for each choice of signals. It is an error when a
// file is no campaign, or chooses no signal of the DBC files.
func (c *campaignCheckCommand) Run() error {
	var plan *dbc.Plan
	if len(c.DBC) > 0 {
		buses, err := (&Recording{DBC: c.DBC, J1939: c.J1939}).Buses()
		if err != nil {
			return err
		}
		list, err := Sources(buses)
		if err != nil {
			return err
		}
		if plan, _, err = dbc.Compile(list); err != nil {
			return err
		}
	} else if len(c.J1939) > 0 {
		return fmt.Errorf("--j1939: expected a bus that --dbc names")
	}
	bad := 0
	for _, name := range c.Files {
		campaign, _, err := readCampaign(name)
		if err != nil {
			fmt.Println(err)
			bad++
			continue
		}
		fmt.Printf("%s: %s\n", name, describe(campaign))
		if plan != nil && campaign.Kind != campaigns.KindRemoval && !listChoices(os.Stdout, name, campaign, plan) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d files would be refused", bad, len(c.Files))
	}
	return nil
}

// readCampaign reads a file as the cloud reads what is published, and gives its text, too. The error names the file, and
// of a campaign that would be refused line and column, where they are known.
func readCampaign(name string) (c *campaigns.Campaign, text []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, document.MaxInline+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > document.MaxInline {
		return nil, nil, fmt.Errorf("%s: expected at most %d bytes", name, document.MaxInline)
	}
	if c, err = campaigns.ParseChange(text); err == nil {
		return c, text, nil
	}
	if line, column, why := campaigns.Place(err); line > 0 {
		return nil, nil, fmt.Errorf("%s:%d:%d: %s", name, line, column, why)
	}
	return nil, nil, fmt.Errorf("%s: %w", name, err)
}

// describe says in one line what a document does.
func describe(c *campaigns.Campaign) string {
	head := fmt.Sprintf("%s revision %d", c.Metadata.ID, c.Metadata.Revision)
	if c.Kind == campaigns.KindRemoval {
		return head + ": takes the campaign back"
	}
	var rules []string
	for i := range c.Spec.Collect {
		rule := &c.Spec.Collect[i]
		how := map[protocol.Mode]string{protocol.ModeAll: "every sample", protocol.ModeGrid: "every " + rule.Every, protocol.ModeOnChange: "on change"}[rule.Mode()]
		rules = append(rules, rule.ID+" ("+how+")")
	}
	batch := c.Spec.Encoding.Batch
	age := batch.AgeLimit().String()
	if small := c.SmallAge(); small > batch.AgeLimit() {
		age += fmt.Sprintf(" (%v while it is small)", small)
	}
	return fmt.Sprintf("%s: collects %s; priority %s, times in steps of %v, a batch is closed after %s or %d KiB",
		head, strings.Join(rules, ", "), c.Class(), c.Spec.Encoding.TickOf(), age, batch.SizeLimit()>>10)
}

// listChoices says for each of the campaign's names how many signals it stands for; false when one stands for none.
func listChoices(out io.Writer, file string, c *campaigns.Campaign, plan *dbc.Plan) (good bool) {
	good = true
	if len(c.Spec.Signals) == 0 {
		fmt.Fprintf(out, "%s: all %d signals\n", file, len(plan.Signals()))
	}
	for _, alias := range slices.Sorted(maps.Keys(c.Spec.Signals)) {
		path := c.Spec.Signals[alias].Path
		n, first := 0, ""
		for i := range plan.Signals() {
			s := &plan.Signals()[i]
			if matchPath(path, s.Bus, s.Message, s.Name) {
				if n++; n == 1 {
					first = s.Bus + "." + s.Message + "." + s.Name
				}
			}
		}
		switch n {
		case 0:
			fmt.Fprintf(out, "%s: %s: no signal of the DBC files matches %s\n", file, alias, path)
			good = false
		case 1:
			fmt.Fprintf(out, "%s: %s: %s\n", file, alias, first)
		default:
			fmt.Fprintf(out, "%s: %s: %d signals, the first is %s\n", file, alias, n, first)
		}
	}
	return good
}

// matchPath says whether a path of globs, bus.message.signal, stands for a signal.
func matchPath(path, bus, message, signal string) bool {
	parts := strings.SplitN(path, ".", 3)
	if len(parts) != 3 {
		return false
	}
	for i, name := range []string{bus, message, signal} {
		if ok, err := protocol.MatchName(parts[i], name); !ok || err != nil {
			return false
		}
	}
	return true
}
