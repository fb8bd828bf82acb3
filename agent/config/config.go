// Package config applies the documents that the cloud pushes to the vehicle:
// it verifies them, puts them in force, keeps them across restarts and reports
// what became of them.
//
// In force is what the last good document said; a bad one changes nothing but
// the report, which then also lists what runs nevertheless.
package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

// Campaigns is what puts campaigns in force.
type Campaigns interface {
	// Check says why one campaign does not fit this vehicle.
	Check(*campaigns.Campaign) error
	// Prepare does everything that can go wrong; what it gives puts the set in force.
	Prepare([]campaigns.Campaign) (apply func(), err error)
}

// Outbox takes status messages; they are on disk when Put returns.
type Outbox interface {
	Put(t topics.Topic, content any) error
}

// Config of a Keeper. Every field but Replace is required.
type Config struct {
	Dir       string // where documents are kept
	Device    protocol.DeviceID
	Default   []campaigns.Campaign // in force while no document says otherwise
	Campaigns Campaigns
	Outbox    Outbox
	// UnknownSignal is the error that Check wraps for signals that the vehicle lacks.
	UnknownSignal error
	// Replace puts a small file on disk; nil: durable.Replace.
	Replace func(path string, data []byte) error
	Log     *slog.Logger
}

// Keeper keeps and applies documents. Its methods may be called from any goroutine.
type Keeper struct {
	cfg      Config
	mu       sync.Mutex // guards the fields below and the file
	set      campaigns.Set
	reported [sha256.Size]byte // of the last document that was reported on since the start
	answers  *answers
}

// setVersion is the version of campaign sets that is understood.
const setVersion = 1

// Open puts the kept campaigns in force, or the default. A damaged file, or
// one that does not fit this vehicle any more, is reported and left; the default applies.
func Open(cfg Config) (*Keeper, error) {
	if cfg.Replace == nil {
		cfg.Replace = durable.Replace
	}
	k := &Keeper{cfg: cfg}
	k.answers = newAnswers(func(results []document.Result) error { return k.report(campaigns.Document, results) })
	data, err := readIfThere(k.path())
	var apply func()
	if data != nil {
		apply, err = k.load(data)
	}
	if err != nil {
		cfg.Log.Error("kept campaigns are unusable; the default applies", "file", campaignsFile, "error", err)
		k.set = campaigns.Set{}
	}
	if apply == nil {
		if apply, err = cfg.Campaigns.Prepare(cfg.Default); err != nil {
			return nil, fmt.Errorf("default campaign: %w", err)
		}
	}
	apply()
	if len(k.inForce(k.set)) == 0 {
		cfg.Log.Info("no campaign is in force: nothing is collected until the cloud pushes one")
	}
	return k, nil
}

// load reads the kept set.
func (k *Keeper) load(data []byte) (apply func(), err error) {
	if err := document.UnmarshalOpen(data, &k.set); err != nil { // it may be of a later version that was rolled back
		return nil, err
	}
	if k.set.Version != setVersion {
		return nil, fmt.Errorf("version %d, expected %d", k.set.Version, setVersion)
	}
	return k.cfg.Campaigns.Prepare(k.inForce(k.set))
}

// campaignsFile holds the set in force.
const campaignsFile = "campaigns.cbor"

func (k *Keeper) path() string { return filepath.Join(k.cfg.Dir, campaignsFile) }

func (k *Keeper) inForce(set campaigns.Set) []campaigns.Campaign {
	if len(set.Campaigns) == 0 {
		return k.cfg.Default
	}
	return set.Campaigns
}

// retryEvery is how often a document is tried again that this vehicle could not do, as on a full disk.
const retryEvery = 10 * time.Second

// Take looks into a campaign document, puts in force what is good of it and reports what became of it. What
// is wrong with it goes into the report, not to the caller. The same document again, as a broker sends it after
// each reconnect, is reported on once in the life of the agent. Take returns when the report is on disk or waits
// behind others. While this vehicle cannot do what the document says, or cannot report it, it tries
// again until ctx ends. It is to be called by one goroutine at a time, and not after Close.
func (k *Keeper) Take(ctx context.Context, payload []byte) {
	for a := (attempt{payload: payload}); !k.try(&a); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryEvery):
		}
	}
}

// attempt is what has been done about one document.
type attempt struct {
	payload []byte
	applied bool              // only the report is left to do
	results []document.Result // of the last try
	told    bool              // that it was not applied
}

// try is one try; false when another one is needed. That a document was not applied is told once. One that was
// applied is not applied again when only its report could not be stored.
func (k *Keeper) try(a *attempt) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	sum := sha256.Sum256(a.payload)
	if sum == k.reported {
		return true
	}
	var err error
	if !a.applied {
		a.results, err = k.applyCampaigns(a.payload)
		a.results, a.applied = k.withRunning(a.results), err == nil
	}
	if err != nil {
		k.cfg.Log.Error("document not applied; it is tried again", "document", campaigns.Document, "error", err)
		if a.told {
			return false
		}
	}
	if reportErr := k.answers.give(a.results, k.unreported); reportErr != nil {
		k.cfg.Log.Error("document handled but not reported; it is tried again", "document", campaigns.Document, "error", reportErr)
		return false
	}
	a.told = true
	if err == nil {
		k.reported = sum
	}
	return err == nil
}

// unreported lets a document be reported when it comes again, whose answer had to wait and was not stored then.
func (k *Keeper) unreported(err error) {
	k.cfg.Log.Error("document handled but not reported", "document", campaigns.Document, "error", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reported = [sha256.Size]byte{}
}

// Close ends what waits to be reported. Nothing may be applied afterwards.
func (k *Keeper) Close() { k.answers.close() }

// applyCampaigns puts the good campaigns of the set in force and says what
// became of each. When none is good, everything stays as it is. The error says
// that the vehicle could not do it now, though the document may be good.
func (k *Keeper) applyCampaigns(payload []byte) ([]document.Result, error) {
	set, members, err := campaigns.ParseSet(payload)
	if err != nil {
		return []document.Result{rejected("", 0, k.reason(err), err)}, nil
	}
	if set.Version != setVersion {
		return []document.Result{rejected("", set.Revision, reasons.NotSupported,
			fmt.Errorf("version %d, expected %d", set.Version, setVersion))}, nil
	}
	if set.Revision < k.set.Revision {
		return []document.Result{rejected("", set.Revision, reasons.StaleRevision,
			fmt.Errorf("revision %d is in force", k.set.Revision))}, nil
	}
	good, results := k.sort(set, members)
	if len(members) > 0 && len(good.Campaigns) == 0 {
		return results, nil
	}
	if err = k.keep(good); err != nil {
		for i := range results {
			if results[i].State == document.Active {
				results[i].State, results[i].Reason, results[i].Detail = document.Rejected, k.reason(err), detail(err)
			}
		}
	}
	if errors.Is(err, campaigns.ErrInvalid) {
		err = nil // the document's fault, and reported
	}
	return results, err
}

// sort takes the good campaigns of a set, and for bad ones the revision that is in force.
func (k *Keeper) sort(set campaigns.Set, members []campaigns.Member) (good campaigns.Set, results []document.Result) {
	good = campaigns.Set{Version: set.Version, Revision: set.Revision}
	seen := make(map[protocol.CampaignID]bool, len(members))
	for i := range members {
		c := &members[i].Campaign
		id := c.Metadata.ID
		err := members[i].Err
		if err == nil {
			err = k.check(c)
		}
		switch {
		case seen[id]:
			err = fmt.Errorf("expected each campaign once: %w", campaigns.ErrInvalid)
		case err == nil:
			good.Campaigns = append(good.Campaigns, *c)
		default:
			good.Campaigns = append(good.Campaigns, k.earlier(id)...)
		}
		seen[id] = true
		if err != nil {
			results = append(results, rejected(string(id), c.Metadata.Revision, k.reason(err), err))
			continue
		}
		results = append(results, document.Result{ID: string(id), Revision: c.Metadata.Revision, State: document.Active})
	}
	return good, results
}

// withRunning adds to results with a rejection what is in force nevertheless, so that
// nobody takes a rejected revision for the end of the one before.
func (k *Keeper) withRunning(results []document.Result) []document.Result {
	if !slices.ContainsFunc(results, func(r document.Result) bool { return r.State == document.Rejected }) {
		return results
	}
	for i := range k.set.Campaigns {
		m := &k.set.Campaigns[i].Metadata
		runs := document.Result{ID: string(m.ID), Revision: m.Revision, State: document.Active}
		if !slices.Contains(results, runs) {
			results = append(results, runs)
		}
	}
	return results
}

// earlier gives the revision of a campaign that is in force, if there is one: a bad revision does not end it.
func (k *Keeper) earlier(id protocol.CampaignID) []campaigns.Campaign {
	i := slices.IndexFunc(k.set.Campaigns, func(c campaigns.Campaign) bool { return c.Metadata.ID == id })
	if i < 0 {
		return nil
	}
	return k.set.Campaigns[i : i+1]
}

func (k *Keeper) check(c *campaigns.Campaign) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return k.cfg.Campaigns.Check(c)
}

// keep puts the set on disk and in force, or changes nothing.
func (k *Keeper) keep(set campaigns.Set) error {
	apply, err := k.cfg.Campaigns.Prepare(k.inForce(set))
	if err != nil {
		return err
	}
	data, err := document.Marshal(set)
	if err != nil {
		return err
	}
	if err := k.cfg.Replace(k.path(), data); err != nil {
		return fmt.Errorf("keep campaigns: %w", err)
	}
	k.set = set
	apply()
	return nil
}

func (k *Keeper) reason(err error) reasons.Reason {
	switch {
	case errors.Is(err, document.ErrNotSupported):
		return reasons.NotSupported
	case errors.Is(err, document.ErrMalformed), errors.Is(err, document.ErrLimit):
		return reasons.Undecodable
	case errors.Is(err, k.cfg.UnknownSignal):
		return reasons.UnknownSignal
	case errors.Is(err, campaigns.ErrInvalid):
		return reasons.ValidationFailed
	}
	return reasons.Internal
}

func rejected(id string, revision uint64, reason reasons.Reason, err error) document.Result {
	if _, bad := protocol.ParseCampaignID(id); bad != nil {
		id = "" // whatever it is, it names no campaign
	}
	return document.Result{ID: id, Revision: revision, State: document.Rejected, Reason: reason, Detail: detail(err)}
}

// maxDetail is the longest text for a person in a report, in bytes.
const maxDetail = 300

func detail(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")
}

// maxResults is how many results a status may have: with the longest identifiers and details it still fits into a
// record of the buffer (protocol.MaxPacket), so that it can be stored some day. A set has fewer campaigns, and as many
// run at most, unless an earlier version has kept more of them.
const maxResults = 2 * campaigns.MaxMembers

// report puts the status into the outbox, in order with all other statuses.
func (k *Keeper) report(doc string, results []document.Result) error {
	if len(results) > maxResults {
		k.cfg.Log.Warn("status is shortened", "document", doc, "results", len(results), "told", maxResults)
		results = results[:maxResults]
	}
	return k.cfg.Outbox.Put(topics.Topic{Kind: topics.ConfigStatus, Name: doc}, document.Status{
		Version: document.StatusVersion, Document: doc, Device: k.cfg.Device, Results: results,
	})
}
