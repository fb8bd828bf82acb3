package campaign

import (
	"encoding/json"
	"strings"

	"telltale.dev/protocol"
)

// MaxListed is up to how many vehicles a Result lists one by one; of more it gives only counts.
const MaxListed = 100

// Bounds of what a vehicle's words may take.
const (
	maxDetail = 300
	maxReason = 64
)

// Result is what became of the newest revision of a campaign, as published on its
// result topic (JSON).
type Result struct {
	ID       protocol.CampaignID `json:"id"`
	Revision uint64              `json:"revision"`
	// State is PENDING until a vehicle has answered, REJECTED when the document or a
	// vehicle's answer is that, else ACTIVE when it is that on at least one vehicle.
	State  protocol.CampaignState `json:"state"`
	Reason protocol.Reason        `json:"reason,omitempty"` // of a rejection
	Detail string                 `json:"detail,omitempty"` // of a rejection
	// Counts says how many vehicles answered what.
	Counts   map[protocol.CampaignState]int       `json:"counts,omitempty"`
	Vehicles map[protocol.VehicleID]VehicleResult `json:"vehicles,omitempty"`
}

// VehicleResult is the word of one vehicle.
type VehicleResult struct {
	State  protocol.CampaignState `json:"state" cbor:"state"`
	Reason protocol.Reason        `json:"reason,omitempty" cbor:"reason,omitempty"`
	Detail string                 `json:"detail,omitempty" cbor:"detail,omitempty"`
}

func (r Result) message() Message {
	payload, _ := json.Marshal(r) // a Result always marshals
	return Message{
		Topic:       protocol.Topic{Kind: protocol.KindOpsResult, Name: "campaign", ID: string(r.ID)},
		ContentType: "application/json", Payload: payload,
	}
}

// rollout is what the vehicles said of one revision of a campaign.
type rollout struct {
	revision uint64
	answers  map[protocol.VehicleID]VehicleResult
	counts   map[protocol.CampaignState]int
	rejected protocol.VehicleID // one whose answer is a rejection, while there are any
}

func newRollout(revision uint64) *rollout {
	return &rollout{revision: revision, answers: map[protocol.VehicleID]VehicleResult{}, counts: map[protocol.CampaignState]int{}}
}

// precedence is the order in which answers decide about the state of the whole.
var precedence = [...]protocol.CampaignState{
	protocol.CampaignRejected, protocol.CampaignActive, protocol.CampaignSuspended,
	protocol.CampaignExpired, protocol.CampaignRemoved, protocol.CampaignDelivered, protocol.CampaignPending,
}

// answer notes a vehicle's word and says whether it is news.
func (r *rollout) answer(vid protocol.VehicleID, a VehicleResult) bool {
	before, had := r.answers[vid]
	if had && before == a {
		return false
	}
	if had {
		r.counts[before.State]--
	}
	r.answers[vid] = a
	r.counts[a.State]++
	if a.State == protocol.CampaignRejected {
		r.rejected = vid
	} else if vid == r.rejected {
		r.rejected = r.otherRejection()
	}
	return true
}

func (r *rollout) otherRejection() protocol.VehicleID {
	if r.counts[protocol.CampaignRejected] > 0 {
		for vid, a := range r.answers {
			if a.State == protocol.CampaignRejected {
				return vid
			}
		}
	}
	return ""
}

func (r *rollout) result(id protocol.CampaignID) Result {
	out := Result{ID: id, Revision: r.revision, State: protocol.CampaignPending, Counts: map[protocol.CampaignState]int{}}
	for i := len(precedence) - 1; i >= 0; i-- {
		if state := precedence[i]; r.counts[state] > 0 {
			out.State, out.Counts[state] = state, r.counts[state]
		}
	}
	if out.State == protocol.CampaignRejected {
		out.Reason, out.Detail = r.answers[r.rejected].Reason, r.answers[r.rejected].Detail
	}
	if len(r.answers) <= MaxListed {
		out.Vehicles = make(map[protocol.VehicleID]VehicleResult, len(r.answers))
		for vid, a := range r.answers {
			out.Vehicles[vid] = a
		}
	}
	return out
}

// known says whether a state is one of the protocol's.
func known(state protocol.CampaignState) bool {
	for _, s := range precedence {
		if s == state {
			return true
		}
	}
	return false
}

// Report takes a vehicle's word on its campaigns and publishes the results that it
// changes. What it says of other revisions than those in force is passed over. A
// rejection without an id is about the whole set.
func (c *Campaigns) Report(vid protocol.VehicleID, status protocol.DocumentStatus) {
	if status.Document != protocol.DocumentCampaigns {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, said := range status.Results {
		if !known(said.State) {
			continue
		}
		a := VehicleResult{State: said.State, Reason: protocol.Reason(cut(string(said.Reason), maxReason)), Detail: cut(said.Detail, maxDetail)}
		if said.ID == "" {
			if said.Revision == 0 || said.Revision == c.set.Revision {
				for id, r := range c.rollouts {
					c.answer(vid, id, r, a)
				}
			}
			continue
		}
		id := protocol.CampaignID(said.ID)
		if r := c.rollouts[id]; r != nil && r.revision == said.Revision {
			c.answer(vid, id, r, a)
		}
	}
}

// answer notes and publishes. The caller holds mu.
func (c *Campaigns) answer(vid protocol.VehicleID, id protocol.CampaignID, r *rollout, a VehicleResult) {
	if r.answer(vid, a) {
		c.dirty[vid] = struct{}{}
		delete(c.refusals, string(id))
		c.cfg.Deliver(r.result(id).message())
	}
}

// cut shortens a vehicle's words to n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
