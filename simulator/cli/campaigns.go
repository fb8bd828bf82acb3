package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/simulator/client"
	"telltale.dev/simulator/terminal"
)

// campaignView is what the API says of a campaign.
type campaignView struct {
	ID       string         `json:"id"`
	Revision uint64         `json:"revision"`
	State    string         `json:"state"`
	Reason   string         `json:"reason"`
	Detail   string         `json:"detail"`
	Summary  string         `json:"summary"`
	Counts   map[string]int `json:"vehicles"`
	Vehicles map[string]struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
		Runs   uint64 `json:"runs"`
	} `json:"by_vehicle"`
	Refused *struct {
		Revision uint64 `json:"revision"`
		Reason   string `json:"reason"`
		Detail   string `json:"detail"`
	} `json:"refused"`
	Document string `json:"document"`
}

// pending is the state of a vehicle that has not answered to the newest revision.
const pending = "PENDING"

// answered is how many vehicles have answered.
func (v *campaignView) answered() (n int) {
	for state, count := range v.Counts {
		if state != pending {
			n += count
		}
	}
	return n
}

// allAnswered says whether each vehicle of the list has answered. When the API does not list the answers one by one
// since there are too many, their number has to do.
func (v *campaignView) allAnswered(list []vehicle) bool {
	if len(v.Vehicles) == 0 {
		return v.answered() >= len(list)
	}
	return !slices.ContainsFunc(list, func(known vehicle) bool {
		a, ok := v.Vehicles[known.VID]
		return !ok || a.State == pending
	})
}

// refusal is an error about a file that was pushed: where in it the fault is, and the reason.
func refusal(file string, text []byte, reason, detail string) error {
	words := terminal.Plain(detail)
	if reason != "" {
		words = terminal.Plain(reason) + ": " + words
	}
	field, _, _ := strings.Cut(detail, ": ")
	if line, column := campaigns.Field(text, field); line > 0 {
		return fmt.Errorf("%s:%d:%d: %s", file, line, column, words)
	}
	return fmt.Errorf("%s: %s", file, words)
}

type campaignPushCommand struct {
	client.Client
	File string        `arg:"" help:"A campaign or a removal, YAML or CBOR."`
	Wait time.Duration `default:"10s" help:"How long to wait for the answers of the vehicles; those that are offline answer when they are back."`
}

// Run reads the file as the cloud will, pushes it and tells what the vehicles say.
func (c *campaignPushCommand) Run(ctx context.Context) error {
	if c.Wait < 0 {
		return fmt.Errorf("--wait %v: expected a time of zero or more", c.Wait)
	}
	doc, text, err := readCampaign(c.File)
	if err != nil {
		return err
	}
	var pushed campaignView
	id := string(doc.Metadata.ID)
	err = c.Ask(ctx, &pushed, client.Request{
		Method: http.MethodPut, Path: []string{"v1", "campaigns", id}, Content: "application/yaml", Body: bytes.NewReader(text),
	})
	var refused *client.Problem
	if errors.As(err, &refused) {
		reason, detail, ok := strings.Cut(refused.Detail, ": ")
		if !ok || strings.ToUpper(reason) != reason {
			reason, detail = "", refused.Detail
		}
		return refusal(c.File, text, reason, detail)
	}
	if err != nil {
		return err
	}
	if doc.Kind == campaigns.KindRemoval {
		fmt.Printf("%s is taken back\n", id)
		return nil
	}
	return c.follow(ctx, id, text)
}

// askAnswersEvery is how often a pushed campaign is looked at.
const askAnswersEvery = 200 * time.Millisecond

// follow waits until all vehicles have answered, or Wait is over, and shows what they say. That a vehicle rejects the
// campaign is an error.
func (c *campaignPushCommand) follow(ctx context.Context, id string, text []byte) error {
	var list []vehicle
	if err := c.Get(ctx, &list, "v1", "vehicles"); err != nil {
		return err
	}
	for end := time.Now().Add(c.Wait); ; {
		var v campaignView
		if err := c.Get(ctx, &v, "v1", "campaigns", id); err != nil {
			return err
		}
		if v.allAnswered(list) || !time.Now().Before(end) {
			v.show(os.Stdout, list)
			if v.State == "REJECTED" {
				return refusal(c.File, text, v.Reason, v.Detail)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAnswersEvery):
		}
	}
}

// show tells where a campaign stands on each vehicle. Who has not answered is listed while there is room for one by one.
func (v *campaignView) show(to io.Writer, list []vehicle) {
	fmt.Fprintf(to, "%s: %s; %d of %d vehicles have answered\n", v.ID, terminal.Plain(v.Summary), v.answered(), len(list))
	if v.Refused != nil {
		fmt.Fprintf(to, "the newest push, revision %d, was refused: %s: %s\n", v.Refused.Revision, v.Refused.Reason, terminal.Plain(v.Refused.Detail))
	}
	if len(v.Vehicles) == 0 {
		for _, state := range slices.Sorted(maps.Keys(v.Counts)) {
			fmt.Fprintf(to, "%d vehicles: %s\n", v.Counts[state], state)
		}
		if v.answered() > 0 {
			return
		}
	}
	out := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "VEHICLE\tANSWER\tRUNS\tREASON")
	for _, vid := range slices.Sorted(maps.Keys(v.Vehicles)) {
		a := v.Vehicles[vid]
		runs, reason := "-", "-"
		if a.State == "ACTIVE" {
			runs = fmt.Sprint(v.Revision)
		} else if a.Runs > 0 {
			runs = fmt.Sprint(a.Runs)
		}
		if a.Reason != "" {
			reason = terminal.Plain(a.Reason + ": " + a.Detail)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", vid, a.State, runs, reason)
	}
	for _, known := range list {
		if _, ok := v.Vehicles[known.VID]; !ok {
			fmt.Fprintf(out, "%s\t-\t-\tno answer yet\n", known.VID)
		}
	}
	_ = out.Flush()
}

type campaignListCommand struct {
	client.Client
	JSON bool `name:"json" help:"As JSON."`
}

// Run lists the campaigns.
func (c *campaignListCommand) Run(ctx context.Context) error {
	if c.JSON {
		return c.Print(ctx, client.Request{Path: []string{"v1", "campaigns"}})
	}
	var list []campaignView
	if err := c.Get(ctx, &list, "v1", "campaigns"); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "CAMPAIGN\tREVISION\tSTATE\tANSWERS\tSUMMARY")
	for i := range list {
		v := &list[i]
		fmt.Fprintf(out, "%s\t%d\t%s\t%d\t%s\n", v.ID, v.Revision, v.State, v.answered(), terminal.Plain(v.Summary))
	}
	return out.Flush()
}

type campaignShowCommand struct {
	client.Client
	ID   string `arg:"" help:"The campaign's metadata.id."`
	JSON bool   `name:"json" help:"As JSON."`
}

// Run shows the document, and after it, as comments, what became of it: the output is a document again.
func (c *campaignShowCommand) Run(ctx context.Context) error {
	if c.JSON {
		return c.Print(ctx, client.Request{Path: []string{"v1", "campaigns", c.ID}})
	}
	var v campaignView
	if err := c.Get(ctx, &v, "v1", "campaigns", c.ID); err != nil {
		return err
	}
	var list []vehicle
	if err := c.Get(ctx, &list, "v1", "vehicles"); err != nil {
		return err
	}
	var said bytes.Buffer
	v.show(&said, list)
	fmt.Print(v.Document)
	for line := range bytes.Lines(said.Bytes()) {
		fmt.Printf("# %s", line)
	}
	return nil
}

type campaignRmCommand struct {
	client.Client
	ID string `arg:"" help:"The campaign's metadata.id."`
}

// Run takes a campaign back.
func (c *campaignRmCommand) Run(ctx context.Context) error {
	body, err := c.Send(ctx, client.Request{Method: http.MethodDelete, Path: []string{"v1", "campaigns", c.ID}})
	if err != nil {
		return err
	}
	fmt.Printf("%s is taken back\n", c.ID)
	return body.Close()
}
