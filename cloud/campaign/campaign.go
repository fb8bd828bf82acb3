// Package campaign keeps the campaigns that fleet operations push, rolls them
// out to the vehicles and collects what became of them.
//
//	Push ──> check ──> set, on disk ──> document of each vehicle   v1/{vid}/down/config/campaigns
//	                                └─> result of the campaign     v1/ops/config/campaign/{id}/result
//	Report (a vehicle's answer) ──────> the same result, counted anew
//
// A vehicle gets the whole set in one document, so that it needs no history: what
// it missed while it was away is in the next document that it sees. Answers are a
// projection of the stream; Save puts them on disk before the stream's reader moves on.
//
// So far every campaign goes to every vehicle; targets, steps and signatures are not here yet.
package campaign

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// Store keeps entries by key; Put returns when the value is on disk.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	List(ctx context.Context) (map[string][]byte, error)
}

// Message is something for the broker to deliver, and to keep for who comes later.
type Message struct {
	Topic       protocol.Topic
	ContentType string
	Payload     []byte
}

// Config of a Campaigns. Every field is required.
type Config struct {
	Store    Store
	Vehicles func() []protocol.VehicleID // to whom campaigns go; must not block
	Deliver  func(Message)               // must not block
	Now      func() time.Time
}

// Campaigns may be used from any goroutine.
type Campaigns struct {
	cfg     Config
	pushing sync.Mutex // one Push at a time; mu is taken and released under it
	saving  sync.Mutex // one Save at a time; mu is taken and released under it

	mu       sync.Mutex // guards all below; never held while the store works
	set      protocol.CampaignSet
	document []byte                           // the set as vehicles get it
	rollouts map[protocol.CampaignID]*rollout // of the campaigns in force
	refusals map[string]Message               // newest result of ids whose last push was refused or a removal
	dirty    map[protocol.VehicleID]struct{}  // whose answers changed since the last Save
}

// setKey is the store's key of the one document that holds all campaigns.
const setKey = "set"

// Open loads the campaigns and what the vehicles said of them.
func Open(ctx context.Context, cfg Config) (*Campaigns, error) {
	entries, err := cfg.Store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("campaigns: %w", err)
	}
	c := &Campaigns{
		cfg: cfg, set: protocol.CampaignSet{Version: 1}, rollouts: map[protocol.CampaignID]*rollout{},
		refusals: map[string]Message{}, dirty: map[protocol.VehicleID]struct{}{},
	}
	if data, ok := entries[setKey]; ok {
		if err := codec.Unmarshal(data, &c.set); err != nil {
			return nil, fmt.Errorf("campaigns: stored set: %w", err)
		}
		c.document = data
	}
	for i := range c.set.Campaigns {
		m := &c.set.Campaigns[i].Metadata
		c.rollouts[m.ID] = newRollout(m.Revision)
	}
	c.load(entries)
	return c, nil
}

// Push takes a document from v1/ops/config/campaign/{id}. An empty one removes
// the campaign. What is wrong with it is published as its result; the error
// returned is only for a store that refuses, and then nothing has changed.
func (c *Campaigns) Push(ctx context.Context, id string, payload []byte) error {
	c.pushing.Lock()
	defer c.pushing.Unlock()
	current := c.current()
	next, changed, refused := change(current, id, payload)
	if refused != nil {
		c.refuse(Result{ID: protocol.CampaignID(id), Revision: refused.revision, State: protocol.CampaignRejected,
			Reason: refused.reason, Detail: refused.err.Error()})
		return nil
	}
	if !changed {
		c.again(protocol.CampaignID(id))
		return nil
	}
	// Seconds instead of a count: a cloud whose data was lost or restored is ahead of
	// what its vehicles have in force all the same.
	next.Revision = max(current.Revision+1, uint64(c.cfg.Now().Unix()))
	data, err := codec.Marshal(next)
	if err == nil {
		err = c.cfg.Store.Put(ctx, setKey, data)
	}
	if err != nil {
		return fmt.Errorf("campaigns: %w", err)
	}
	c.adopt(protocol.CampaignID(id), next, data)
	return nil
}

func (c *Campaigns) current() protocol.CampaignSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set // campaigns in it are never changed in place
}

// adopt puts a set in force that differs from the one before in the campaign id.
func (c *Campaigns) adopt(id protocol.CampaignID, next protocol.CampaignSet, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.rollouts[id]
	c.set, c.document = next, data
	delete(c.rollouts, id)
	delete(c.refusals, string(id))
	if before != nil {
		for vid := range before.answers {
			c.dirty[vid] = struct{}{}
		}
	}
	if i := find(next, id); i >= 0 {
		c.rollouts[id] = newRollout(next.Campaigns[i].Metadata.Revision)
		c.cfg.Deliver(c.rollouts[id].result(id).message())
	} else {
		c.keepRefusal(Result{ID: id, Revision: before.revision, State: protocol.CampaignRemoved}.message())
	}
	// Under mu: a vehicle that registers meanwhile either is in the list, or asks for its Document afterwards.
	for _, vid := range c.cfg.Vehicles() {
		c.cfg.Deliver(documentMessage(vid, data))
	}
}

// again publishes the result of a campaign that was pushed once more as it is.
func (c *Campaigns) again(id protocol.CampaignID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refusals, string(id))
	if r := c.rollouts[id]; r != nil {
		c.cfg.Deliver(r.result(id).message())
	} else {
		c.keepRefusal(Result{ID: id, State: protocol.CampaignRemoved}.message())
	}
}

func (c *Campaigns) refuse(r Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepRefusal(r.message())
}

// maxRefusals bounds the results that are kept of campaigns that are not in force.
const maxRefusals = 256

// keepRefusal publishes the result of a push that put nothing in force. The caller holds mu.
func (c *Campaigns) keepRefusal(m Message) {
	for id := range c.refusals { // beyond the bound some other one goes
		if len(c.refusals) < maxRefusals {
			break
		}
		delete(c.refusals, id)
	}
	c.refusals[m.Topic.ID] = m
	c.cfg.Deliver(m)
}

func documentMessage(vid protocol.VehicleID, data []byte) Message {
	return Message{
		Topic:       protocol.Topic{Kind: protocol.KindConfig, Vehicle: vid, Name: protocol.DocumentCampaigns},
		ContentType: protocol.ContentCampaigns, Payload: data,
	}
}

// Document gives the document of a vehicle, false while there never was a campaign.
func (c *Campaigns) Document(vid protocol.VehicleID) (Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return documentMessage(vid, c.document), c.document != nil
}

// Results gives the newest message of each result topic.
func (c *Campaigns) Results() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Message, 0, len(c.rollouts)+len(c.refusals))
	for id, r := range c.rollouts {
		if _, refused := c.refusals[string(id)]; !refused {
			list = append(list, r.result(id).message())
		}
	}
	for _, m := range c.refusals {
		list = append(list, m)
	}
	return list
}

// Campaign is a campaign in force and what became of it.
type Campaign struct {
	protocol.Campaign
	Result Result
}

// List gives the campaigns in force, by id.
func (c *Campaigns) List() []Campaign {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Campaign, len(c.set.Campaigns))
	for i, doc := range c.set.Campaigns {
		list[i] = Campaign{doc, c.rollouts[doc.Metadata.ID].result(doc.Metadata.ID)}
	}
	slices.SortFunc(list, func(a, b Campaign) int { return strings.Compare(string(a.Metadata.ID), string(b.Metadata.ID)) })
	return list
}
