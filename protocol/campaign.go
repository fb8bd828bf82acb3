package protocol

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// CampaignAPIVersion and CampaignKind head each campaign document; RemovalKind instead
// of CampaignKind takes a campaign back.
const (
	CampaignAPIVersion = "campaigns.v1"
	CampaignKind       = "Campaign"
	RemovalKind        = "Removal"
)

// Limits and defaults of a campaign document.
const (
	MaxRules        = 32
	MaxAliases      = 4096
	MinGrid         = time.Millisecond
	MaxGrid         = 24 * time.Hour
	DefaultBatchAge = 10 * time.Second
	MaxBatchAge     = time.Hour
	DefaultBatch    = 64 << 10
	MinBatch        = 1 << 10
	MaxBatch        = 192 << 10 // leaves room for topic and properties below MaxPacket
)

// ErrCampaign is wrapped by every error about a campaign's content.
var ErrCampaign = errors.New("invalid campaign")

// Campaign says what a vehicle collects, how, and with which priority it travels.
type Campaign struct {
	APIVersion string           `yaml:"apiVersion" cbor:"apiVersion" json:"apiVersion"`
	Kind       string           `yaml:"kind" cbor:"kind" json:"kind"`
	Metadata   CampaignMetadata `yaml:"metadata" cbor:"metadata" json:"metadata"`
	Spec       CampaignSpec     `yaml:"spec" cbor:"spec" json:"spec"`
}

// CampaignMetadata identifies a revision of a campaign.
type CampaignMetadata struct {
	ID       CampaignID `yaml:"id" cbor:"id" json:"id"`
	Revision uint64     `yaml:"revision" cbor:"revision" json:"revision"` // from 1; the higher one wins
}

// CampaignSpec is the body of a campaign.
type CampaignSpec struct {
	// Signals gives names to signals for the rules. Empty means that rules speak of all signals.
	Signals map[string]SignalSelector `yaml:"signals,omitempty" cbor:"signals,omitempty" json:"signals,omitempty"`
	// Collect holds 1 to MaxRules rules.
	Collect []CollectRule `yaml:"collect" cbor:"collect" json:"collect"`
	// Priority is the class of the batches; unset means CS1.
	Priority string `yaml:"priority,omitempty" cbor:"priority,omitempty" json:"priority,omitempty"`
	// Purpose is the purpose under which the data is collected, spelt like an identifier; empty: none given.
	Purpose  string           `yaml:"purpose,omitempty" cbor:"purpose,omitempty" json:"purpose,omitempty"`
	Encoding CampaignEncoding `yaml:"encoding,omitempty" cbor:"encoding,omitempty" json:"encoding,omitempty"`
}

// SignalSelector picks signals by path "bus.message.signal", each part a glob in path.Match's syntax;
// a slash is a letter like others, since signal names have them.
type SignalSelector struct {
	Path string `yaml:"path" cbor:"path" json:"path"`
}

// CollectRule is one way of collecting: exactly one of Every and OnChange, or neither for every sample.
type CollectRule struct {
	ID string `yaml:"id" cbor:"id" json:"id"`
	// Every is a grid: each signal's last value once per interval, if it was seen in it. Written like "100ms".
	Every string `yaml:"every,omitempty" cbor:"every,omitempty" json:"every,omitempty"`
	// OnChange keeps a sample only when its raw value differs from the last kept one.
	OnChange bool `yaml:"onChange,omitempty" cbor:"onChange,omitempty" json:"onChange,omitempty"`
	// Signals are names from CampaignSpec.Signals; empty means all of them, or all signals when that is empty too.
	Signals []string `yaml:"signals,omitempty" cbor:"signals,omitempty" json:"signals,omitempty"`
}

// CampaignEncoding bounds batches.
type CampaignEncoding struct {
	Batch BatchLimits `yaml:"batch,omitempty" cbor:"batch,omitempty" json:"batch,omitempty"`
}

// BatchLimits closes a batch at an age in source time or at a size, whichever comes first.
type BatchLimits struct {
	Age   string `yaml:"age,omitempty" cbor:"age,omitempty" json:"age,omitempty"`       // "10s" by default
	Bytes string `yaml:"bytes,omitempty" cbor:"bytes,omitempty" json:"bytes,omitempty"` // "64KiB" by default
}

// CampaignSet is the document "campaigns" of one vehicle: everything that it
// shall collect. An empty set means the vehicle's default.
type CampaignSet struct {
	Version   int        `cbor:"v" json:"version"` // 1
	Revision  uint64     `cbor:"rev" json:"revision"`
	Campaigns []Campaign `cbor:"campaigns" json:"campaigns"`
}

// DocumentCampaigns names the document in topics: down/config/campaigns.
const DocumentCampaigns = "campaigns"

// Mode is how a rule samples; the words are those of schema documents.
type Mode string

// The modes.
const (
	ModeAll      Mode = "all"
	ModeGrid     Mode = "grid"
	ModeOnChange Mode = "onchange"
)

// Everything is the campaign that a vehicle runs when nobody told it otherwise: every sample of every signal.
func Everything() Campaign {
	return Campaign{
		APIVersion: CampaignAPIVersion, Kind: CampaignKind,
		Metadata: CampaignMetadata{ID: "everything", Revision: 1},
		Spec:     CampaignSpec{Collect: []CollectRule{{ID: "all"}}},
	}
}

// Class is the priority of the campaign's batches, CS1 when unset.
func (c *Campaign) Class() Priority {
	if p, err := ParsePriority(c.Spec.Priority); err == nil {
		return p
	}
	return CS1
}

// Mode tells how the rule samples.
func (r *CollectRule) Mode() Mode {
	switch {
	case r.OnChange:
		return ModeOnChange
	case r.Every != "":
		return ModeGrid
	}
	return ModeAll
}

// Interval is the rule's grid, 0 when it has none. The rule must have passed Validate.
func (r *CollectRule) Interval() time.Duration {
	d, _ := time.ParseDuration(r.Every)
	return d
}

// AgeLimit is the batch age with its default.
func (b BatchLimits) AgeLimit() time.Duration {
	if d, err := time.ParseDuration(b.Age); err == nil {
		return d
	}
	return DefaultBatchAge
}

// SizeLimit is the batch size in bytes with its default.
func (b BatchLimits) SizeLimit() int {
	if n, err := ParseSize(b.Bytes); err == nil {
		return int(n) // Validate bounds it
	}
	return DefaultBatch
}

// Validate checks everything that can be checked without a vehicle. The error
// wraps ErrCampaign and names the field and what was expected.
func (c *Campaign) Validate() error {
	if err := c.validateHead(CampaignKind); err != nil {
		return err
	}
	return c.Spec.validate()
}

// ValidateRemoval is Validate for a document of RemovalKind: it has no spec.
func (c *Campaign) ValidateRemoval() error {
	if err := c.validateHead(RemovalKind); err != nil {
		return err
	}
	s := &c.Spec
	if len(s.Signals)+len(s.Collect) > 0 || s.Priority != "" || s.Purpose != "" || s.Encoding != (CampaignEncoding{}) {
		return invalid("spec", "expected none in a removal")
	}
	return nil
}

// validateHead checks everything but the spec.
func (c *Campaign) validateHead(kind string) error {
	if c.APIVersion != CampaignAPIVersion {
		return invalid("apiVersion", "expected "+CampaignAPIVersion)
	}
	if c.Kind != kind {
		return invalid("kind", "expected "+kind)
	}
	if _, err := ParseCampaignID(string(c.Metadata.ID)); err != nil {
		return invalid("metadata.id", err.Error())
	}
	if c.Metadata.Revision == 0 {
		return invalid("metadata.revision", "expected a number from 1")
	}
	return nil
}

func (s *CampaignSpec) validate() error {
	if len(s.Signals) > MaxAliases {
		return invalid("spec.signals", fmt.Sprintf("expected at most %d", MaxAliases))
	}
	for name, sel := range s.Signals {
		if err := sel.validate(); err != nil {
			return invalid("spec.signals."+name+".path", err.Error())
		}
	}
	if err := s.validateRules(); err != nil {
		return err
	}
	if s.Priority != "" {
		if _, err := ParsePriority(s.Priority); err != nil {
			return invalid("spec.priority", err.Error())
		}
	}
	if s.Purpose != "" {
		if err := checkID("purpose", s.Purpose); err != nil {
			return invalid("spec.purpose", err.Error())
		}
	}
	return s.Encoding.Batch.validate()
}

func (s *CampaignSpec) validateRules() error {
	if n := len(s.Collect); n == 0 || n > MaxRules {
		return invalid("spec.collect", fmt.Sprintf("expected 1 to %d rules", MaxRules))
	}
	seen := make(map[string]bool, len(s.Collect))
	for i := range s.Collect {
		field := "spec.collect[" + strconv.Itoa(i) + "]"
		if err := s.Collect[i].validate(field, s.Signals); err != nil {
			return err
		}
		if seen[s.Collect[i].ID] {
			return invalid(field+".id", "expected an id that no other rule has")
		}
		seen[s.Collect[i].ID] = true
	}
	return nil
}

func (s SignalSelector) validate() error {
	if strings.Count(s.Path, ".") != 2 {
		return errors.New("expected bus.message.signal")
	}
	if _, err := MatchName(s.Path, ""); err != nil {
		return errors.New("expected a glob")
	}
	return nil
}

func (r *CollectRule) validate(field string, aliases map[string]SignalSelector) error {
	if err := checkID("id", r.ID); err != nil {
		return invalid(field+".id", err.Error())
	}
	if r.OnChange && r.Every != "" {
		return invalid(field, "expected one of every and onChange")
	}
	if r.Every != "" {
		if d, err := time.ParseDuration(r.Every); err != nil || d < MinGrid || d > MaxGrid || d%time.Millisecond != 0 {
			return invalid(field+".every", "expected whole milliseconds with their unit, 1ms to 24h, such as 500ms")
		}
	}
	for _, name := range r.Signals {
		if _, ok := aliases[name]; !ok {
			return invalid(field+".signals", "expected names from spec.signals")
		}
	}
	return nil
}

func (b BatchLimits) validate() error {
	if b.Age != "" {
		if d, err := time.ParseDuration(b.Age); err != nil || d < 100*time.Millisecond || d > MaxBatchAge {
			return invalid("spec.encoding.batch.age", "expected 100ms to 1h with the unit, such as 10s")
		}
	}
	if b.Bytes != "" {
		if n, err := ParseSize(b.Bytes); err != nil || n < MinBatch || n > MaxBatch {
			return invalid("spec.encoding.batch.bytes", "expected 1KiB to 192KiB, such as 64KiB")
		}
	}
	return nil
}

// ParseSize reads "512", "64KiB", "20MiB" or "1GiB" as bytes, on every machine the same.
func ParseSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	for _, unit := range [...]struct {
		suffix string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		if d, ok := strings.CutSuffix(s, unit.suffix); ok {
			digits, factor = d, unit.factor
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits[0] < '0' || digits[0] > '9' || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("size %.16q: expected a number of B, KiB, MiB or GiB", s)
	}
	return n * factor, nil
}

// ParseSizeFrom is ParseSize for a size of at least so many bytes.
func ParseSizeFrom(s string, least int64) (int64, error) {
	n, err := ParseSize(s)
	if err == nil && n < least {
		return 0, fmt.Errorf("size %.16q: expected at least %d KiB", s, least>>10)
	}
	return n, err
}

func invalid(field, expected string) error {
	return &campaignError{field + ": " + expected}
}

// campaignError is an error that wraps ErrCampaign without saying it: its text goes to
// operators, who know that it is their campaign.
type campaignError struct{ text string }

func (e *campaignError) Error() string { return e.text }

func (e *campaignError) Unwrap() error { return ErrCampaign }
