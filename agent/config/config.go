// Package config applies the documents that the cloud pushes to the vehicle:
// it verifies them, puts them in force, keeps them across restarts and reports
// what became of them.
//
// In force is what the last good document said; a bad one changes nothing but
// the report.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// Campaigns is what puts campaigns in force.
type Campaigns interface {
	// Check says why one campaign does not fit this vehicle.
	Check(*protocol.Campaign) error
	// Replace puts a set in force.
	Replace([]protocol.Campaign) error
}

// Reports takes status messages; they are on disk when Append returns.
type Reports interface {
	Append(recs []buffer.Record, p buffer.Progress) error
}

// Config of a Keeper. Every field is required.
type Config struct {
	Dir       string // where documents are kept
	Vehicle   protocol.VehicleID
	Device    protocol.DeviceID
	Default   []protocol.Campaign // in force while no document says otherwise
	Campaigns Campaigns
	Report    Reports
	// UnknownSignal is the error that Check wraps for signals that the vehicle lacks.
	UnknownSignal error
	Log           *slog.Logger
}

// Keeper keeps and applies documents. Its methods may be called from any goroutine.
type Keeper struct {
	cfg Config
	mu  sync.Mutex // guards the fields below and the file
	set protocol.CampaignSet
}

// Open puts the kept campaigns in force, or the default. A damaged file is reported and left; the default applies.
func Open(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg}
	data, err := readIfThere(k.path())
	if err == nil && data != nil {
		err = codec.Unmarshal(data, &k.set)
	}
	if err == nil {
		err = cfg.Campaigns.Replace(k.inForce(k.set))
	}
	if err == nil {
		return k, nil
	}
	cfg.Log.Error("kept campaigns are unusable; the default applies", "file", filepath.Base(k.path()), "error", err)
	k.set = protocol.CampaignSet{}
	if err := cfg.Campaigns.Replace(cfg.Default); err != nil {
		return nil, fmt.Errorf("default campaign: %w", err)
	}
	return k, nil
}

func (k *Keeper) path() string { return filepath.Join(k.cfg.Dir, "campaigns.cbor") }

func (k *Keeper) inForce(set protocol.CampaignSet) []protocol.Campaign {
	if len(set.Campaigns) == 0 {
		return k.cfg.Default
	}
	return set.Campaigns
}

// Apply takes a document from its topic. What is wrong with it goes into the report, not to the caller.
func (k *Keeper) Apply(t protocol.Topic, payload []byte) {
	if t.Kind != protocol.KindConfig || t.Name != protocol.DocumentCampaigns {
		k.cfg.Log.Warn("document of a kind that this agent does not know is ignored", "document", t.Name)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	results := k.applyCampaigns(payload)
	if err := k.report(t.Name, results); err != nil {
		k.cfg.Log.Error("document applied but not reported", "document", t.Name, "error", err)
	}
}

// applyCampaigns puts the good campaigns of the set in force and says what became of each.
func (k *Keeper) applyCampaigns(payload []byte) []protocol.DocumentResult {
	var set protocol.CampaignSet
	if err := codec.Unmarshal(payload, &set); err != nil {
		return []protocol.DocumentResult{rejected("", 0, protocol.ReasonUndecodable, err)}
	}
	if set.Revision < k.set.Revision {
		return []protocol.DocumentResult{rejected("", set.Revision, protocol.ReasonStaleRevision,
			fmt.Errorf("revision %d is in force", k.set.Revision))}
	}
	results := make([]protocol.DocumentResult, 0, len(set.Campaigns))
	good := protocol.CampaignSet{Version: set.Version, Revision: set.Revision}
	for i := range set.Campaigns {
		c := &set.Campaigns[i]
		if err := k.check(c); err != nil {
			results = append(results, rejected(string(c.Metadata.ID), c.Metadata.Revision, k.reason(err), err))
			good.Campaigns = append(good.Campaigns, k.earlier(c.Metadata.ID)...)
			continue
		}
		good.Campaigns = append(good.Campaigns, *c)
		results = append(results, protocol.DocumentResult{
			ID: string(c.Metadata.ID), Revision: c.Metadata.Revision, State: protocol.CampaignActive,
		})
	}
	if err := k.keep(good); err != nil {
		for i := range results {
			results[i].State, results[i].Reason, results[i].Detail = protocol.CampaignRejected, protocol.ReasonInternal, err.Error()
		}
	}
	return results
}

// earlier gives the revision of a campaign that is in force, if there is one: a bad revision does not end it.
func (k *Keeper) earlier(id protocol.CampaignID) []protocol.Campaign {
	i := slices.IndexFunc(k.set.Campaigns, func(c protocol.Campaign) bool { return c.Metadata.ID == id })
	if i < 0 {
		return nil
	}
	return k.set.Campaigns[i : i+1]
}

func (k *Keeper) check(c *protocol.Campaign) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return k.cfg.Campaigns.Check(c)
}

// keep puts the set on disk, then in force.
func (k *Keeper) keep(set protocol.CampaignSet) error {
	data, err := codec.Marshal(set)
	if err != nil {
		return err
	}
	if err := writeDurably(k.path(), data); err != nil {
		return fmt.Errorf("keep campaigns: %w", err)
	}
	if err := k.cfg.Campaigns.Replace(k.inForce(set)); err != nil {
		return err
	}
	k.set = set
	return nil
}

func (k *Keeper) reason(err error) protocol.Reason {
	if errors.Is(err, k.cfg.UnknownSignal) {
		return protocol.ReasonUnknownSignal
	}
	return protocol.ReasonValidationFailed
}

func rejected(id string, revision uint64, reason protocol.Reason, err error) protocol.DocumentResult {
	return protocol.DocumentResult{ID: id, Revision: revision, State: protocol.CampaignRejected, Reason: reason, Detail: err.Error()}
}

// statusTTL is how long a status is worth sending.
const statusTTL = 24 * time.Hour

// report puts the status into the buffer, in order with all other statuses.
func (k *Keeper) report(doc string, results []protocol.DocumentResult) error {
	payload, err := codec.Marshal(protocol.DocumentStatus{Version: 1, Document: doc, Device: k.cfg.Device, Results: results})
	if err != nil {
		return err
	}
	topic := protocol.Topic{Kind: protocol.KindConfigStatus, Vehicle: k.cfg.Vehicle, Name: doc}
	return k.cfg.Report.Append([]buffer.Record{{
		Topic: topic.String(), ContentType: protocol.ContentStatus, Priority: protocol.CS4, Ordered: true,
		Created: time.Now(), TTL: statusTTL, Payload: payload,
	}}, buffer.Progress{})
}
