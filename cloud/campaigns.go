package cloud

import (
	"context"
	"net/http"
	"strconv"

	"go.yaml.in/yaml/v3"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/campaign"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
)

var _ api.Campaigns = views{}

// ListCampaigns implements api.Campaigns.
func (v views) ListCampaigns() []api.Campaign {
	list := []api.Campaign{}
	for _, c := range v.campaigns.List() {
		list = append(list, shownCampaign(&c.Result))
	}
	return list
}

func shownCampaign(r *campaign.Result) api.Campaign {
	shown := api.Campaign{
		ID: string(r.ID), Revision: r.Revision, State: string(r.State), Reason: string(r.Reason), Detail: r.Detail,
		Summary: r.Summary, Vehicles: map[string]int{}, ByVehicle: map[string]api.CampaignOnVehicle{}, Runs: map[string]int{},
	}
	for state, n := range r.Counts {
		shown.Vehicles[string(state)] = n
	}
	for revision, n := range r.Runs {
		shown.Runs[strconv.FormatUint(revision, 10)] = n
	}
	for vid, a := range r.Vehicles {
		shown.ByVehicle[string(vid)] = api.CampaignOnVehicle{State: string(a.State), Reason: string(a.Reason), Detail: a.Detail, Runs: a.Runs}
	}
	if r.Refused != nil {
		shown.Refused = &api.RefusedPush{Revision: r.Refused.Revision, Reason: string(r.Refused.Reason), Detail: r.Refused.Detail}
	}
	return shown
}

// Campaign implements api.Campaigns.
func (v views) Campaign(id string) (api.CampaignDocument, bool) {
	c, ok := v.campaigns.Get(protocol.CampaignID(id))
	if !ok {
		return api.CampaignDocument{}, false
	}
	text, err := yaml.Marshal(c.Campaign)
	if err != nil {
		v.cfg.Log.Error("campaign cannot be shown", "err", err)
	}
	return api.CampaignDocument{Campaign: shownCampaign(&c.Result), Document: string(text)}, true
}

// PushCampaign implements api.Campaigns. A refusal has the words of the result topic.
func (v views) PushCampaign(ctx context.Context, id string, doc []byte) (api.Campaign, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	refused, err := v.campaigns.Push(ctx, id, doc, nil)
	if err != nil {
		return api.Campaign{}, err
	}
	if refused != nil {
		status := http.StatusUnprocessableEntity
		switch refused.Reason {
		case reasons.StaleRevision:
			status = http.StatusConflict
		case reasons.TooLarge:
			status = http.StatusRequestEntityTooLarge
		}
		return api.Campaign{}, &api.Refusal{Status: status, Detail: string(refused.Reason) + ": " + refused.Detail}
	}
	if c, ok := v.Campaign(id); ok {
		return c.Campaign, nil
	}
	return shownCampaign(&campaign.Result{ID: protocol.CampaignID(id), State: document.Removed, Summary: "removed"}), nil
}

// RemoveCampaign implements api.Campaigns.
func (v views) RemoveCampaign(ctx context.Context, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	return v.campaigns.TakeBack(ctx, id)
}
