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
// The newest revision that was accepted here need not be what a vehicle runs: a vehicle that
// rejects it goes on with the one before, and results say so ("51 REJECTED, 50 still runs").
//
// So far every campaign goes to every vehicle; targets, steps and signatures are not here yet.
package campaign

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// Message is something for the broker to deliver, and Reply where an operator wants the results of one push.
type (
	Message = backbone.Outgoing
	Reply   = backbone.Reply
)

// Config of a Campaigns. Every field is required.
type Config struct {
	Store    backbone.Store
	Vehicles func() []protocol.VehicleID // to whom campaigns go; must not block
	Deliver  func(Message)               // must not block
	Now      func() time.Time
	Log      *slog.Logger
}

// Campaigns may be used from any goroutine.
type Campaigns struct {
	cfg     Config
	pushing sync.Mutex // one Push or TakeBack at a time; mu is taken and released under it
	saving  sync.Mutex // one Save at a time; mu is taken and released under it

	mu       sync.Mutex // guards all below; never held while the store works
	set      campaigns.Set
	document []byte                           // the set as vehicles get it
	rollouts map[protocol.CampaignID]*rollout // one for each campaign of the set
	refusals map[string]Message               // newest result of ids without an accepted revision: a refusal or a removal
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
		cfg: cfg, set: campaigns.Set{Version: 1}, rollouts: map[protocol.CampaignID]*rollout{},
		refusals: map[string]Message{}, dirty: map[protocol.VehicleID]struct{}{},
	}
	if data, ok := entries[setKey]; ok {
		if err := document.Unmarshal(data, &c.set); err != nil {
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

// Push takes a document from v1/ops/config/campaign/{id}: a campaign, or a removal. Its
// results go to the topic of results, and to reply unless that is nil: at once, and with
// each word of a vehicle until another push of the campaign is accepted. What is wrong
// with the document is such a result, which takes no other one's place while the campaign
// has an accepted revision; Push gives it, too. The error returned is only for a store that refuses, and then
// nothing has changed.
func (c *Campaigns) Push(ctx context.Context, id string, payload []byte, reply *Reply) (*Refused, error) {
	c.pushing.Lock()
	defer c.pushing.Unlock()
	current := c.current()
	next, revision, changed, refused := change(current, id, payload, c.standing)
	if refused != nil {
		r := Refused{refused.revision, refused.reason, refused.detail}
		c.refuse(protocol.CampaignID(id), r, reply)
		return &r, nil
	}
	if !changed {
		c.again(protocol.CampaignID(id), revision, reply)
		return nil, nil
	}
	return nil, c.store(ctx, protocol.CampaignID(id), revision, next, reply)
}

// store puts a set on disk that differs from the newest one in the campaign id, and then in force. The caller holds pushing.
func (c *Campaigns) store(ctx context.Context, id protocol.CampaignID, revision uint64, next campaigns.Set, reply *Reply) error {
	// Seconds instead of a count: a cloud whose data was lost or restored is ahead of
	// what its vehicles have in force all the same.
	next.Revision = max(next.Revision+1, uint64(c.cfg.Now().Unix()))
	data, err := document.Marshal(next)
	if err == nil {
		err = c.cfg.Store.Put(ctx, setKey, data)
	}
	if err != nil {
		return fmt.Errorf("campaigns: %w", err)
	}
	c.adopt(id, revision, next, data, reply)
	return nil
}

// TakeBack removes the newest revision of a campaign, whichever it is by then, as a pushed removal of the next revision
// does; false when there is none. The error is only for a store that refuses, and then nothing has changed.
func (c *Campaigns) TakeBack(ctx context.Context, id string) (found bool, err error) {
	c.pushing.Lock()
	defer c.pushing.Unlock()
	next := c.current()
	i := find(next, protocol.CampaignID(id))
	if i < 0 {
		return false, nil
	}
	revision := next.Campaigns[i].Metadata.Revision
	if revision < math.MaxUint64 { // stored before campaigns.MaxRevision was there
		revision++
	}
	next.Campaigns = slices.Delete(slices.Clone(next.Campaigns), i, i+1)
	return true, c.store(ctx, protocol.CampaignID(id), revision, next, nil)
}

func (c *Campaigns) current() campaigns.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set // campaigns in it are never changed in place
}

// standing says where the newest revision of a campaign stands.
func (c *Campaigns) standing(doc *campaigns.Campaign) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rollouts[doc.Metadata.ID].result(doc.Metadata.ID).Summary
}

// adopt puts a set in force that differs from the one before in the campaign id.
func (c *Campaigns) adopt(id protocol.CampaignID, revision uint64, next campaigns.Set, data []byte, reply *Reply) {
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
	if find(next, id) >= 0 {
		r := newRollout(revision)
		r.reply = reply
		if before != nil {
			r.follow(before)
		}
		c.rollouts[id] = r
		c.cfg.Deliver(r.result(id).message(reply))
	} else {
		c.keepOutcome(removed(id, revision).message(reply))
	}
	// Under mu: a vehicle that registers meanwhile either is in the list, or asks for its Document afterwards.
	for _, vid := range c.cfg.Vehicles() {
		c.cfg.Deliver(documentMessage(vid, data))
	}
}

func removed(id protocol.CampaignID, revision uint64) Result {
	return Result{ID: id, Revision: revision, State: document.Removed, Summary: summary(revision, document.Removed, nil)}
}

// again publishes the result of a document that was pushed once more as it is, or of a
// removal of what is not there.
func (c *Campaigns) again(id protocol.CampaignID, revision uint64, reply *Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.rollouts[id]; r != nil {
		r.reply, r.refused = reply, nil
		c.cfg.Deliver(r.result(id).message(reply))
	} else {
		c.keepOutcome(removed(id, revision).message(reply))
	}
}

// refuse publishes the result of a push that changes nothing. While the campaign has an
// accepted revision, who comes later gets the account of that one, with the refusal noted in it.
func (c *Campaigns) refuse(id protocol.CampaignID, refused Refused, reply *Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused.Detail = cut(refused.Detail, maxDetail)
	if r := c.rollouts[id]; r != nil {
		r.refused = &refused
		m := r.refusal(id, refused).message(reply)
		m.Kept = false
		c.cfg.Deliver(m)
		return
	}
	c.keepOutcome(Result{
		ID: id, Revision: refused.Revision, State: document.Rejected, Reason: refused.Reason, Detail: refused.Detail,
		Summary: summary(refused.Revision, document.Rejected, nil),
	}.message(reply))
}

// maxRefusals bounds the results that are kept of campaigns without an accepted revision.
const maxRefusals = 256

// keepOutcome publishes the result of a push after which the campaign has no accepted
// revision. The caller holds mu.
func (c *Campaigns) keepOutcome(m Message) {
	for id := range c.refusals { // beyond the bound some other one goes
		if len(c.refusals) < maxRefusals {
			break
		}
		delete(c.refusals, id)
	}
	kept := m
	kept.Reply = nil
	c.refusals[m.Topic.ID] = kept
	c.cfg.Deliver(m)
}

func documentMessage(vid protocol.VehicleID, data []byte) Message {
	return Message{
		Topic:       topics.Topic{Kind: topics.Config, Vehicle: vid, Name: campaigns.Document},
		ContentType: protocol.ContentCampaigns, Payload: data, Kept: true,
	}
}

// Document gives the document of a vehicle, false while there never was a campaign.
func (c *Campaigns) Document(vid protocol.VehicleID) (Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return documentMessage(vid, c.document), c.document != nil
}

// Takes is an ability of rooms: the vehicles' answers.
func (c *Campaigns) Takes() []backbone.Intake {
	return []backbone.Intake{backbone.Takes(topics.ConfigStatus, campaigns.Document, func(_ context.Context, from backbone.Origin, status document.Status) error {
		c.Report(from.Vehicle, status)
		return nil
	})}
}

// Orders is an ability of rooms: what operators publish.
func (c *Campaigns) Orders() []backbone.Order {
	return []backbone.Order{{Name: "campaign", Take: func(ctx context.Context, id string, payload []byte, reply *Reply) error {
		_, err := c.Push(ctx, id, payload, reply)
		return err
	}}}
}

// Retained is an ability of rooms: the document of a vehicle.
func (c *Campaigns) Retained(vid protocol.VehicleID) []Message {
	if doc, ok := c.Document(vid); ok {
		return []Message{doc}
	}
	return nil
}

// Results is an ability of rooms: the newest message of each result topic.
func (c *Campaigns) Results() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Message, 0, len(c.rollouts)+len(c.refusals))
	for id, r := range c.rollouts {
		list = append(list, r.result(id).message(nil))
	}
	for _, m := range c.refusals {
		list = append(list, m)
	}
	return list
}

// Accepted is the newest accepted revision of a campaign and what became of it.
type Accepted struct {
	campaigns.Campaign
	Result Result
}

// Get gives a campaign that has an accepted revision.
func (c *Campaigns) Get(id protocol.CampaignID) (Accepted, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := find(c.set, id)
	if i < 0 {
		return Accepted{}, false
	}
	return Accepted{c.set.Campaigns[i], c.rollouts[id].result(id)}, true
}

// List gives the campaigns that have an accepted revision, by id.
func (c *Campaigns) List() []Accepted {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Accepted, len(c.set.Campaigns))
	for i, doc := range c.set.Campaigns {
		list[i] = Accepted{doc, c.rollouts[doc.Metadata.ID].result(doc.Metadata.ID)}
	}
	slices.SortFunc(list, func(a, b Accepted) int { return strings.Compare(string(a.Metadata.ID), string(b.Metadata.ID)) })
	return list
}
