package campaign

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

// MaxListed is up to how many vehicles a Result lists one by one; of more it gives only counts.
const MaxListed = 100

// Bounds of what vehicles' words may take in a result, in bytes and in revisions.
const (
	maxDetail = 300
	maxReason = 64
	maxRuns   = 16
)

// Result is what became of the newest accepted revision of a campaign, or of one push
// of it, as published on its result topic (JSON).
type Result struct {
	ID       protocol.CampaignID `json:"id"`
	Revision uint64              `json:"revision"` // 0: the pushed document's could not be read
	// State is PENDING until a vehicle has answered, REJECTED when the document or a
	// vehicle's answer is that, else ACTIVE when it is that on at least one vehicle.
	State  document.State `json:"state"`
	Reason reasons.Reason `json:"reason,omitempty"` // of a rejection
	Detail string         `json:"detail,omitempty"` // of a rejection
	// Summary is one line for people: "51 REJECTED, 50 still runs".
	Summary string `json:"summary"`
	// Counts says how many vehicles answered what.
	Counts map[document.State]int `json:"counts,omitempty"`
	// Runs are other revisions than Revision that run on vehicles, and on how many; at most maxRuns.
	Runs     map[uint64]int                       `json:"runs,omitempty"`
	Vehicles map[protocol.VehicleID]VehicleResult `json:"vehicles,omitempty"`
	// Refused is the newest push that changed nothing, if there was one after Revision.
	Refused *Refused `json:"refused,omitempty"`
}

// Refused is a push that the cloud refused.
type Refused struct {
	Revision uint64         `json:"revision"` // 0: could not be read
	Reason   reasons.Reason `json:"reason"`
	Detail   string         `json:"detail"`
}

// VehicleResult is the word of one vehicle.
type VehicleResult struct {
	State  document.State `json:"state" cbor:"state"`
	Reason reasons.Reason `json:"reason,omitempty" cbor:"reason,omitempty"`
	Detail string         `json:"detail,omitempty" cbor:"detail,omitempty"`
	// Runs is the earlier revision that runs there while this one does not; 0: none.
	Runs uint64 `json:"runs,omitempty" cbor:"runs,omitempty"`
}

// summary is the one line for people.
func summary(revision uint64, state document.State, runs map[uint64]int) string {
	text := number(revision) + " " + string(state)
	if len(runs) == 0 {
		return text
	}
	names := make([]string, 0, len(runs))
	for _, r := range slices.Backward(slices.Sorted(maps.Keys(runs))) {
		names = append(names, number(r))
	}
	if len(names) == 1 {
		return text + ", " + names[0] + " still runs"
	}
	last := len(names) - 1
	return text + ", " + strings.Join(names[:last], ", ") + " and " + names[last] + " still run"
}

// number writes a revision; 0 is one that nobody could read.
func number(revision uint64) string {
	if revision == 0 {
		return "a document without a readable revision"
	}
	return strconv.FormatUint(revision, 10)
}

// message is the result for its topic, kept for who comes later, and for who pushed it.
func (r Result) message(reply *Reply) Message {
	payload, _ := json.Marshal(r) // a Result always marshals
	return Message{
		Topic:       topics.Topic{Kind: topics.OpsResult, Name: "campaign", ID: string(r.ID)},
		ContentType: "application/json", Payload: payload, Kept: true, Reply: reply,
	}
}

// Report takes a vehicle's word on its campaigns and publishes the results that it
// changes. A rejection without an id is about the whole set. Of other revisions than the
// newest accepted one only that they run counts.
func (c *Campaigns) Report(vid protocol.VehicleID, status document.Status) {
	if status.Document != campaigns.Document {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	runs := running(status)
	for _, said := range status.Results {
		if !known(said.State) {
			continue
		}
		a := VehicleResult{State: said.State, Reason: reasons.Reason(cut(string(said.Reason), maxReason)), Detail: cut(said.Detail, maxDetail)}
		if said.ID == "" {
			if said.Revision == 0 || said.Revision == c.set.Revision {
				for id, r := range c.rollouts {
					if !r.goesOn(vid, runs[id], status.Version) {
						c.answer(vid, id, r, stillRuns(a, r, vid, runs[id], status.Version))
					}
				}
			}
			continue
		}
		id := protocol.CampaignID(said.ID)
		if r := c.rollouts[id]; r != nil && r.revision == said.Revision {
			c.answer(vid, id, r, stillRuns(a, r, vid, runs[id], status.Version))
		}
	}
}

// Forget drops what a vehicle said, because it was deleted, and publishes the results that this changes.
// When it returns nil nothing of it is on disk.
func (c *Campaigns) Forget(ctx context.Context, vid protocol.VehicleID) error {
	c.drop(vid)
	return c.Save(ctx)
}

func (c *Campaigns) drop(vid protocol.VehicleID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty[vid] = struct{}{}
	for id, r := range c.rollouts {
		if r.forget(vid) {
			c.cfg.Deliver(r.result(id).message(r.reply))
		}
	}
}

// running gives the revision of each campaign that a vehicle says is in force.
func running(status document.Status) map[protocol.CampaignID]uint64 {
	runs := make(map[protocol.CampaignID]uint64, len(status.Results))
	for _, said := range status.Results {
		if said.State == document.Active && said.ID != "" {
			runs[protocol.CampaignID(said.ID)] = said.Revision
		}
	}
	return runs
}

// goesOn says whether a vehicle that rejected a whole set runs the revision all the
// same, because the set before had it, too. told is what the status says that it runs.
func (r *rollout) goesOn(vid protocol.VehicleID, told uint64, version int) bool {
	if version >= document.StatusVersion {
		return told == r.revision
	}
	return r.answers[vid].State == document.Active
}

// stillRuns adds to a rejection which revision runs instead, as the status tells; 0: it
// tells of none. Agents before document.StatusVersion never do, but keep what they had.
func stillRuns(a VehicleResult, r *rollout, vid protocol.VehicleID, told uint64, version int) VehicleResult {
	switch {
	case a.State != document.Rejected || told == r.revision:
	case told == 0 && version < document.StatusVersion:
		a.Runs = r.answers[vid].Runs
	default:
		a.Runs = told
	}
	return a
}

// answer notes and publishes. The caller holds mu.
func (c *Campaigns) answer(vid protocol.VehicleID, id protocol.CampaignID, r *rollout, a VehicleResult) {
	if r.answer(vid, a) {
		c.dirty[vid] = struct{}{}
		c.cfg.Deliver(r.result(id).message(r.reply))
	}
}

// cut shortens a vehicle's words to n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
