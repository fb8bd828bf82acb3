// Package campaign keeps the campaigns that fleet operations push, rolls them
// out to the vehicles and collects what became of them.
//
// So far every campaign goes to every vehicle; targets, steps and signatures are not here yet.
package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// Store keeps entries by key; Put and Delete return when the change is on disk.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	List(ctx context.Context) (map[string][]byte, error)
}

// Message is something for the broker to deliver.
type Message struct {
	Topic       protocol.Topic
	ContentType string
	Payload     []byte
	Retain      bool
}

// Config of a Campaigns. Every field is required.
type Config struct {
	Store    Store
	Vehicles func() []protocol.VehicleID // to whom campaigns go
	Deliver  func(Message)
}

// Campaigns may be used from any goroutine.
type Campaigns struct {
	cfg     Config
	mu      sync.Mutex // guards the fields below
	set     protocol.CampaignSet
	results map[protocol.CampaignID]*Result
}

// Result is what became of the newest revision of a campaign, as published on its result topic (JSON).
type Result struct {
	ID       protocol.CampaignID                  `json:"id"`
	Revision uint64                               `json:"revision"`
	State    protocol.CampaignState               `json:"state"` // DELIVERED until a vehicle has answered
	Reason   protocol.Reason                      `json:"reason,omitempty"`
	Detail   string                               `json:"detail,omitempty"`
	Vehicles map[protocol.VehicleID]VehicleResult `json:"vehicles,omitempty"`
}

// VehicleResult is the word of one vehicle.
type VehicleResult struct {
	State  protocol.CampaignState `json:"state"`
	Reason protocol.Reason        `json:"reason,omitempty"`
	Detail string                 `json:"detail,omitempty"`
}

// setKey is the store's key of the one document that holds all campaigns.
const setKey = "set"

// Open loads the campaigns.
func Open(ctx context.Context, cfg Config) (*Campaigns, error) {
	entries, err := cfg.Store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("campaigns: %w", err)
	}
	c := &Campaigns{cfg: cfg, results: map[protocol.CampaignID]*Result{}, set: protocol.CampaignSet{Version: 1}}
	if data, ok := entries[setKey]; ok {
		if err := codec.Unmarshal(data, &c.set); err != nil {
			return nil, fmt.Errorf("campaigns: %w", err)
		}
	}
	return c, nil
}

// Push takes a document from v1/ops/config/campaign/{id}. An empty one removes
// the campaign. What is wrong with it is published as its result; the error
// returned is only for a store that refuses.
func (c *Campaigns) Push(ctx context.Context, id protocol.CampaignID, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.set
	next.Revision++
	i := slices.IndexFunc(c.set.Campaigns, func(o protocol.Campaign) bool { return o.Metadata.ID == id })
	result := Result{ID: id, State: protocol.CampaignDelivered, Vehicles: map[protocol.VehicleID]VehicleResult{}}
	if len(payload) == 0 {
		if i >= 0 {
			result.Revision = c.set.Campaigns[i].Metadata.Revision
			next.Campaigns = slices.Delete(slices.Clone(c.set.Campaigns), i, i+1)
		}
		result.State = protocol.CampaignRemoved
	} else {
		doc, err := c.check(id, payload, i)
		if err != nil {
			c.publish(Result{ID: id, State: protocol.CampaignRejected, Reason: protocol.ReasonValidationFailed, Detail: err.Error()})
			return nil
		}
		result.Revision = doc.Metadata.Revision
		next.Campaigns = slices.Clone(c.set.Campaigns)
		if i >= 0 {
			next.Campaigns[i] = *doc
		} else {
			next.Campaigns = append(next.Campaigns, *doc)
		}
	}
	return c.adopt(ctx, next, result)
}

// check parses a pushed document and says why it cannot take the place of the campaign at index i.
func (c *Campaigns) check(id protocol.CampaignID, payload []byte, i int) (*protocol.Campaign, error) {
	doc, err := codec.ParseCampaign(payload)
	if err != nil {
		return nil, err
	}
	if doc.Metadata.ID != id {
		return nil, fmt.Errorf("metadata.id: expected the id of the topic: %w", protocol.ErrCampaign)
	}
	if i >= 0 && doc.Metadata.Revision < c.set.Campaigns[i].Metadata.Revision {
		return nil, fmt.Errorf("metadata.revision: expected at least %d, which is in force: %w",
			c.set.Campaigns[i].Metadata.Revision, protocol.ErrCampaign)
	}
	return doc, nil
}

// adopt keeps the new set, then delivers it.
func (c *Campaigns) adopt(ctx context.Context, next protocol.CampaignSet, result Result) error {
	data, err := codec.Marshal(next)
	if err == nil {
		err = c.cfg.Store.Put(ctx, setKey, data)
	}
	if err != nil {
		return fmt.Errorf("campaigns: %w", err)
	}
	c.set = next
	c.results[result.ID] = &result
	c.publish(result)
	for _, vid := range c.cfg.Vehicles() {
		c.cfg.Deliver(c.document(vid, data))
	}
	return nil
}

func (c *Campaigns) document(vid protocol.VehicleID, data []byte) Message {
	return Message{
		Topic:       protocol.Topic{Kind: protocol.KindConfig, Vehicle: vid, Name: protocol.DocumentCampaigns},
		ContentType: protocol.ContentCampaigns, Payload: data, Retain: true,
	}
}

// Document gives the retained document of a vehicle, false while there never was a campaign.
func (c *Campaigns) Document(vid protocol.VehicleID) (Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set.Revision == 0 {
		return Message{}, false
	}
	data, err := codec.Marshal(c.set)
	return c.document(vid, data), err == nil
}

// Report takes a vehicle's word on its documents and publishes the results that it changes.
func (c *Campaigns) Report(vid protocol.VehicleID, status protocol.DocumentStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range status.Results {
		result := c.results[protocol.CampaignID(r.ID)]
		if result == nil || result.Revision != r.Revision {
			continue
		}
		result.Vehicles[vid] = VehicleResult{State: r.State, Reason: r.Reason, Detail: r.Detail}
		result.State = r.State
		c.publish(*result)
	}
}

func (c *Campaigns) publish(r Result) { c.cfg.Deliver(r.message()) }

func (r *Result) message() Message {
	payload, _ := json.Marshal(r) // a Result always marshals
	return Message{
		Topic:       protocol.Topic{Kind: protocol.KindOpsResult, Name: "campaign", ID: string(r.ID)},
		ContentType: "application/json", Payload: payload, Retain: true,
	}
}

// Results gives the newest result of each campaign that was pushed since the start.
func (c *Campaigns) Results() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Message, 0, len(c.results))
	for _, r := range c.results {
		list = append(list, r.message())
	}
	return list
}

// List gives the campaigns in force, by id.
func (c *Campaigns) List() []protocol.Campaign {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.set.Campaigns)
	slices.SortFunc(list, func(a, b protocol.Campaign) int { return strings.Compare(string(a.Metadata.ID), string(b.Metadata.ID)) })
	return list
}
