package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Campaigns says what vehicles collect. Errors that are a *Refusal are shown as they are; all others are for the log.
type Campaigns interface {
	ListCampaigns() []Campaign
	// Campaign gives one with its document; false when there is none.
	Campaign(id string) (CampaignDocument, bool)
	// PushCampaign takes a document, YAML or CBOR.
	PushCampaign(ctx context.Context, id string, doc []byte) (Campaign, error)
	// RemoveCampaign takes one back; false when there is none.
	RemoveCampaign(ctx context.Context, id string) (bool, error)
}

// Campaign is the newest accepted revision of a campaign. A vehicle that rejects it goes on with the one before.
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

// CampaignPath names a campaign.
type CampaignPath struct {
	ID string `path:"id" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"the campaign's metadata.id"`
}

type pushCampaignInput struct {
	CampaignPath
	RawBody []byte `contentType:"application/yaml" required:"true"`
}

// maxCampaign bounds the body of a push, in bytes; the campaign room's own bound is lower, and says so better.
const maxCampaign = 64 << 10

func (s *Server) campaignRoutes(api huma.API) {
	huma.Get(api, "/v1/campaigns", func(_ context.Context, in *Page) (*pagedOutput[Campaign], error) {
		return page(s.cfg.Campaigns.ListCampaigns(), func(c Campaign) string { return c.ID }, *in, "/v1/campaigns", nil)
	}, about("list-campaigns", "The newest accepted revision of each campaign and what the vehicles say of it, by identifier", http.StatusBadRequest))
	huma.Get(api, "/v1/campaigns/{id}", func(_ context.Context, in *CampaignPath) (*output[CampaignDocument], error) {
		c, ok := s.cfg.Campaigns.Campaign(in.ID)
		if !ok {
			return nil, huma.Error404NotFound("no campaign with this identifier")
		}
		return &output[CampaignDocument]{c}, nil
	}, about("get-campaign", "The newest accepted revision of a campaign, and what the vehicles say of it", http.StatusNotFound))
	push := about("push-campaign", "Push a campaign or a removal, YAML or CBOR, as v1/ops/config/campaign/{id} takes it",
		http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Put(api, "/v1/campaigns/{id}", func(ctx context.Context, in *pushCampaignInput) (*output[Campaign], error) {
		c, err := s.cfg.Campaigns.PushCampaign(ctx, in.ID, in.RawBody)
		if err != nil {
			return nil, s.refused("campaign not stored", err)
		}
		return &output[Campaign]{c}, nil
	}, push, func(o *huma.Operation) { o.MaxBodyBytes = maxCampaign })
	huma.Delete(api, "/v1/campaigns/{id}", func(ctx context.Context, in *CampaignPath) (*struct{}, error) {
		found, err := s.cfg.Campaigns.RemoveCampaign(ctx, in.ID)
		switch {
		case err != nil:
			return nil, s.refused("campaign not removed", err)
		case !found:
			return nil, huma.Error404NotFound("no campaign with this identifier")
		}
		return nil, nil
	}, about("remove-campaign", "Take a campaign back from all vehicles", http.StatusNotFound, http.StatusServiceUnavailable))
}
