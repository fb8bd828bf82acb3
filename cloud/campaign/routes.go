package campaign

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.yaml.in/yaml/v3"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
)

// Campaign is the newest accepted revision of a campaign, as the API shows it. A vehicle that rejects it goes on with the one before.
type Campaign struct {
	ID       string         `json:"id"`
	Revision uint64         `json:"revision" doc:"the newest one that the cloud accepted"`
	State    string         `json:"state" doc:"PENDING until a vehicle has answered, REJECTED when one rejects it, else ACTIVE when one runs it"`
	Reason   string         `json:"reason,omitempty" doc:"of a rejection"`
	Detail   string         `json:"detail,omitempty" doc:"of a rejection"`
	Summary  string         `json:"summary" doc:"one line for people, such as: 51 REJECTED, 50 still runs"`
	Vehicles map[string]int `json:"vehicles" doc:"how many vehicles answered what"`
	// Runs has no more than the campaign room lists.
	Runs      map[string]int               `json:"runs" doc:"earlier revision → on how many vehicles it still runs"`
	ByVehicle map[string]CampaignOnVehicle `json:"by_vehicle" doc:"vehicle → its answer; empty when more than 100 have answered"`
	Refused   *RefusedPush                 `json:"refused,omitempty" doc:"the newest push that was refused after this revision was accepted; it changed nothing"`
}

// CampaignOnVehicle is the word of one vehicle on a campaign.
type CampaignOnVehicle struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	Runs   uint64 `json:"runs,omitempty" doc:"the earlier revision that runs there while the newest does not"`
}

// RefusedPush is a document that the cloud refused.
type RefusedPush struct {
	Revision uint64 `json:"revision" doc:"0: it could not be read"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
}

// CampaignDocument is a campaign as it was accepted, with what became of it.
type CampaignDocument struct {
	Campaign
	Document string `json:"document" doc:"the accepted revision as YAML"`
}

// CampaignPath names a campaign. It is exported because huma passes over embedded types that are not.
type CampaignPath struct {
	ID string `path:"id" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"the campaign's metadata.id"`
}

type pushInput struct {
	CampaignPath
	RawBody []byte `contentType:"application/yaml" required:"true"`
}

const (
	// maxBody bounds the body of a push, in bytes; the bound of a document is lower, and says so better.
	maxBody = 64 << 10
	// storeWait bounds a change that a client waits for. It goes on when the client is gone.
	storeWait = 10 * time.Second
)

// Routes is an ability of rooms.
func (c *Campaigns) Routes(api huma.API) {
	huma.Get(api, "/v1/campaigns", func(_ context.Context, in *backbone.Page) (*backbone.Paged[Campaign], error) {
		list := []Campaign{}
		for _, accepted := range c.List() {
			list = append(list, shown(&accepted.Result))
		}
		return backbone.Cut(list, func(c Campaign) string { return c.ID }, *in, "/v1/campaigns", nil)
	}, backbone.About("list-campaigns", "The newest accepted revision of each campaign and what the vehicles say of it, by identifier", http.StatusBadRequest))
	huma.Get(api, "/v1/campaigns/{id}", func(_ context.Context, in *CampaignPath) (*backbone.Answer[CampaignDocument], error) {
		accepted, ok := c.Get(protocol.CampaignID(in.ID))
		if !ok {
			return nil, noCampaign()
		}
		text, err := yaml.Marshal(accepted.Campaign)
		if err != nil {
			c.cfg.Log.Error("campaign cannot be shown", "err", err)
		}
		return &backbone.Answer[CampaignDocument]{Body: CampaignDocument{shown(&accepted.Result), string(text)}}, nil
	}, backbone.About("get-campaign", "The newest accepted revision of a campaign, and what the vehicles say of it", http.StatusNotFound))
	huma.Put(api, "/v1/campaigns/{id}", c.push, backbone.About("push-campaign", "Push a campaign or a removal, YAML or CBOR, as v1/ops/config/campaign/{id} takes it",
		http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable),
		func(o *huma.Operation) { o.MaxBodyBytes = maxBody })
	huma.Delete(api, "/v1/campaigns/{id}", func(ctx context.Context, in *CampaignPath) (*struct{}, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
		defer cancel()
		found, err := c.TakeBack(ctx, in.ID)
		switch {
		case err != nil:
			return nil, backbone.Failed(c.cfg.Log, "campaign not removed", err)
		case !found:
			return nil, noCampaign()
		}
		return nil, nil
	}, backbone.About("remove-campaign", "Take a campaign back from all vehicles", http.StatusNotFound, http.StatusServiceUnavailable))
}

func noCampaign() error { return huma.Error404NotFound("no campaign with this identifier") }

// push answers a refusal with the words of the result topic.
func (c *Campaigns) push(ctx context.Context, in *pushInput) (*backbone.Answer[Campaign], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	refused, err := c.Push(ctx, in.ID, in.RawBody, nil)
	if err != nil {
		return nil, backbone.Failed(c.cfg.Log, "campaign not stored", err)
	}
	if refused != nil {
		status := http.StatusUnprocessableEntity
		switch refused.Reason {
		case reasons.StaleRevision:
			status = http.StatusConflict
		case reasons.TooLarge:
			status = http.StatusRequestEntityTooLarge
		}
		return nil, huma.NewError(status, string(refused.Reason)+": "+refused.Detail)
	}
	out := &backbone.Answer[Campaign]{Body: shown(&Result{ID: protocol.CampaignID(in.ID), State: document.Removed, Summary: "removed"})}
	if accepted, ok := c.Get(protocol.CampaignID(in.ID)); ok {
		out.Body = shown(&accepted.Result)
	}
	return out, nil
}

func shown(r *Result) Campaign {
	out := Campaign{
		ID: string(r.ID), Revision: r.Revision, State: string(r.State), Reason: string(r.Reason), Detail: r.Detail,
		Summary: r.Summary, Vehicles: map[string]int{}, ByVehicle: map[string]CampaignOnVehicle{}, Runs: map[string]int{},
	}
	for state, n := range r.Counts {
		out.Vehicles[string(state)] = n
	}
	for revision, n := range r.Runs {
		out.Runs[strconv.FormatUint(revision, 10)] = n
	}
	for vid, a := range r.Vehicles {
		out.ByVehicle[string(vid)] = CampaignOnVehicle{State: string(a.State), Reason: string(a.Reason), Detail: a.Detail, Runs: a.Runs}
	}
	if r.Refused != nil {
		out.Refused = &RefusedPush{Revision: r.Refused.Revision, Reason: string(r.Refused.Reason), Detail: r.Refused.Detail}
	}
	return out
}
