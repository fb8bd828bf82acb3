package campaign

import (
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// rollout is what the vehicles said of the newest accepted revision of a campaign, and
// which earlier revision runs where this one does not.
type rollout struct {
	revision uint64
	reply    *Reply // of who pushed the revision; nil: asked for none, or before the start
	answers  map[protocol.VehicleID]VehicleResult
	counts   map[document.State]int
	runs     map[uint64]int     // earlier revision → on how many vehicles it still runs
	rejected protocol.VehicleID // one whose answer is a rejection, while there are any
	refused  *Refused           // the newest push that was refused; nil: none since the revision was accepted
}

func newRollout(revision uint64) *rollout {
	return &rollout{
		revision: revision, answers: map[protocol.VehicleID]VehicleResult{},
		counts: map[document.State]int{}, runs: map[uint64]int{},
	}
}

// follow takes over what runs on the vehicles while they have not answered.
func (r *rollout) follow(before *rollout) {
	for vid, a := range before.answers {
		running := a.Runs
		if a.State == document.Active {
			running = before.revision
		}
		if running != 0 {
			r.answer(vid, VehicleResult{State: document.Pending, Runs: running})
		}
	}
}

// precedence is the order in which answers decide about the state of the whole.
var precedence = [...]document.State{
	document.Rejected, document.Active, document.Suspended,
	document.Expired, document.Removed, document.Delivered, document.Pending,
}

// answer notes a vehicle's word and says whether it is news.
func (r *rollout) answer(vid protocol.VehicleID, a VehicleResult) bool {
	before, had := r.answers[vid]
	if had && before == a {
		return false
	}
	if had {
		r.counts[before.State]--
		r.count(before.Runs, -1)
	}
	r.answers[vid] = a
	r.counts[a.State]++
	r.count(a.Runs, 1)
	if a.State == document.Rejected {
		r.rejected = vid
	} else if vid == r.rejected {
		r.rejected = r.otherRejection()
	}
	return true
}

// forget drops a vehicle's word and says whether there was one.
func (r *rollout) forget(vid protocol.VehicleID) bool {
	before, had := r.answers[vid]
	if !had {
		return false
	}
	delete(r.answers, vid)
	r.counts[before.State]--
	r.count(before.Runs, -1)
	if vid == r.rejected {
		r.rejected = r.otherRejection()
	}
	return true
}

// count counts a vehicle that runs an earlier revision; 0 is none.
func (r *rollout) count(revision uint64, n int) {
	if revision == 0 {
		return
	}
	if r.runs[revision] += n; r.runs[revision] == 0 {
		delete(r.runs, revision)
	}
}

func (r *rollout) otherRejection() protocol.VehicleID {
	if r.counts[document.Rejected] > 0 {
		for vid, a := range r.answers {
			if a.State == document.Rejected {
				return vid
			}
		}
	}
	return ""
}

// result gives the account of the newest accepted revision.
func (r *rollout) result(id protocol.CampaignID) Result {
	out := Result{ID: id, Revision: r.revision, State: document.Pending, Counts: map[document.State]int{}, Refused: r.refused}
	for i := len(precedence) - 1; i >= 0; i-- {
		if state := precedence[i]; r.counts[state] > 0 {
			out.State, out.Counts[state] = state, r.counts[state]
		}
	}
	if out.State == document.Rejected {
		out.Reason, out.Detail = r.answers[r.rejected].Reason, r.answers[r.rejected].Detail
	}
	out.Runs = r.earlier()
	if len(r.answers) <= MaxListed {
		out.Vehicles = make(map[protocol.VehicleID]VehicleResult, len(r.answers))
		for vid, a := range r.answers {
			out.Vehicles[vid] = a
		}
	}
	out.Summary = summary(r.revision, out.State, out.Runs)
	return out
}

// earlier gives the earlier revisions that run, at most maxRuns of them; nil for none.
func (r *rollout) earlier() map[uint64]int {
	if len(r.runs) == 0 {
		return nil
	}
	runs := make(map[uint64]int, min(len(r.runs), maxRuns))
	for revision, n := range r.runs {
		if len(runs) == maxRuns {
			break
		}
		runs[revision] = n
	}
	return runs
}

// refusal gives the result of a push that was refused while this revision is the newest.
func (r *rollout) refusal(id protocol.CampaignID, refused Refused) Result {
	out := Result{
		ID: id, Revision: refused.Revision, State: document.Rejected,
		Reason: refused.Reason, Detail: refused.Detail, Runs: r.earlier(),
	}
	if n := r.counts[document.Active]; n > 0 {
		if out.Runs == nil {
			out.Runs = map[uint64]int{}
		}
		out.Runs[r.revision] = n
	}
	out.Summary = summary(refused.Revision, out.State, out.Runs)
	if len(out.Runs) == 0 {
		out.Summary += ", " + number(r.revision) + " stays " + string(r.result(id).State)
	}
	return out
}

// known says whether a state is one of the protocol's.
func known(state document.State) bool {
	for _, s := range precedence {
		if s == state {
			return true
		}
	}
	return false
}
