// Package campaigns holds the document that says what a vehicle collects, how, and with which
// priority it travels; it is written by people in YAML and travels as CBOR.
package campaigns

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale.dev/protocol"
)

// APIVersion and KindCampaign head each campaign document; KindRemoval instead
// of KindCampaign takes a campaign back.
const (
	APIVersion   = "campaigns.v1"
	KindCampaign = "Campaign"
	KindRemoval  = "Removal"
)

// Limits and defaults of a campaign document.
const (
	MaxRules        = 32
	MaxAliases      = 4096
	MinGrid         = time.Millisecond
	MaxGrid         = 24 * time.Hour
	DefaultBatchAge = 10 * time.Second
	SmallBatchAge   = 20 * time.Second // see Campaign.SmallAge
	MaxBatchAge     = time.Hour
	DefaultBatch    = 64 << 10
	SmallBatch      = 1 << 10 // bytes; see Campaign.SmallAge
	MinBatch        = 1 << 10
	MaxBatch        = 192 << 10 // leaves room for topic and properties below MaxPacket
)

// ErrInvalid is wrapped by every error about a campaign's content.
var ErrInvalid = errors.New("invalid campaign")

// Campaign says what a vehicle collects, how, and with which priority it travels.
type Campaign struct {
	APIVersion string   `yaml:"apiVersion" cbor:"apiVersion" json:"apiVersion"`
	Kind       string   `yaml:"kind" cbor:"kind" json:"kind"`
	Metadata   Metadata `yaml:"metadata" cbor:"metadata" json:"metadata"`
	Spec       Spec     `yaml:"spec" cbor:"spec" json:"spec"`
}

// Metadata identifies a revision of a campaign.
type Metadata struct {
	ID       protocol.CampaignID `yaml:"id" cbor:"id" json:"id"`
	Revision uint64              `yaml:"revision" cbor:"revision" json:"revision"` // from 1; the higher one wins
}

// Spec is the body of a campaign.
type Spec struct {
	// Signals gives names to signals for the rules. Empty means that rules speak of all signals.
	Signals map[string]SignalSelector `yaml:"signals,omitempty" cbor:"signals,omitempty" json:"signals,omitempty"`
	// Collect holds 1 to MaxRules rules.
	Collect []Rule `yaml:"collect" cbor:"collect" json:"collect"`
	// Priority is the class of the batches; unset means CS1.
	Priority string `yaml:"priority,omitempty" cbor:"priority,omitempty" json:"priority,omitempty"`
	// Purpose is the purpose under which the data is collected, spelt like an identifier; empty: none given.
	Purpose  string   `yaml:"purpose,omitempty" cbor:"purpose,omitempty" json:"purpose,omitempty"`
	Encoding Encoding `yaml:"encoding,omitempty" cbor:"encoding,omitempty" json:"encoding,omitempty"`
}

// SignalSelector picks signals by path "bus.message.signal", each part a glob in path.Match's syntax;
// a slash is a letter like others, since signal names have them.
type SignalSelector struct {
	Path string `yaml:"path" cbor:"path" json:"path"`
}

// Rule is one way of collecting: by Every or by OnChange, not by both; with neither it takes every sample.
type Rule struct {
	ID string `yaml:"id" cbor:"id" json:"id"`
	// Every is a grid: each signal's last value once per interval, if it was seen in it. Written like "100ms".
	Every string `yaml:"every,omitempty" cbor:"every,omitempty" json:"every,omitempty"`
	// OnChange keeps a sample only when its raw value differs from the last kept one.
	OnChange bool `yaml:"onChange,omitempty" cbor:"onChange,omitempty" json:"onChange,omitempty"`
	// Signals are names from Spec.Signals; empty means all of them, or all signals when that is empty too.
	Signals []string `yaml:"signals,omitempty" cbor:"signals,omitempty" json:"signals,omitempty"`
}

// Encoding bounds batches and says how exact their times are.
type Encoding struct {
	Batch BatchLimits `yaml:"batch,omitempty" cbor:"batch,omitempty" json:"batch,omitempty"`
	// Tick is the step of times, cut downwards: one of Ticks, "1ms" by default. Finer steps cost
	// bytes, because the jitter of times is noise: of four recordings 8 to 17 % more for 100us,
	// 19 to 46 % for 10us, 28 to 66 % for 1us.
	Tick string `yaml:"tick,omitempty" cbor:"tick,omitempty" json:"tick,omitempty"`
}

// BatchLimits closes a batch at an age in source time or at a size, whichever comes first.
type BatchLimits struct {
	Age   string `yaml:"age,omitempty" cbor:"age,omitempty" json:"age,omitempty"`       // "10s" by default; see also Campaign.SmallAge
	Bytes string `yaml:"bytes,omitempty" cbor:"bytes,omitempty" json:"bytes,omitempty"` // "64KiB" by default
}

// Set is the document "campaigns" of one vehicle: everything that it
// shall collect. An empty set means the vehicle's default.
type Set struct {
	Version   int        `cbor:"v,required" json:"version"` // 1
	Revision  uint64     `cbor:"rev,required" json:"revision"`
	Campaigns []Campaign `cbor:"campaigns,required" json:"campaigns"`
}

// Document names the document in topics: down/config/campaigns.
const Document = "campaigns"

// Everything is the largest campaign: every sample of every signal.
func Everything() Campaign {
	return Campaign{
		APIVersion: APIVersion, Kind: KindCampaign,
		Metadata: Metadata{ID: "everything", Revision: 1},
		Spec:     Spec{Collect: []Rule{{ID: "all"}}},
	}
}

// Class is the priority of the campaign's batches, CS1 when unset.
func (c *Campaign) Class() protocol.Priority {
	if p, err := protocol.ParsePriority(c.Spec.Priority); err == nil {
		return p
	}
	return protocol.CS1
}

// Mode tells how the rule samples.
func (r *Rule) Mode() protocol.Mode {
	switch {
	case r.OnChange:
		return protocol.ModeOnChange
	case r.Every != "":
		return protocol.ModeGrid
	}
	return protocol.ModeAll
}

// Interval is the rule's grid, 0 when it has none. The rule must have passed Validate.
func (r *Rule) Interval() time.Duration {
	d, _ := time.ParseDuration(r.Every)
	return d
}

// Ticks are the steps that times may have.
func Ticks() []string { return []string{"1us", "10us", "100us", "1ms"} }

// DefaultTick is the step of times when a campaign names none.
const DefaultTick = time.Millisecond

// TickOf is the step of times with its default. The campaign must have passed Validate.
func (e Encoding) TickOf() time.Duration {
	if d, err := time.ParseDuration(e.Tick); err == nil {
		return d
	}
	return DefaultTick
}

func (e Encoding) validate() error {
	if e.Tick != "" && !slices.Contains(Ticks(), e.Tick) {
		return invalid("spec.encoding.tick", "expected one of "+strings.Join(Ticks(), ", "))
	}
	return e.Batch.validate()
}

// AgeLimit is the batch age with its default.
func (b BatchLimits) AgeLimit() time.Duration {
	if d, err := time.ParseDuration(b.Age); err == nil {
		return d
	}
	return DefaultBatchAge
}

// SmallAge is the age at which a batch is closed that comes to less than SmallBatch bytes in the batch age. Header and
// times are a large part of it, so one that travels in bulk waits longer. An age that the campaign names is kept exactly.
func (c *Campaign) SmallAge() time.Duration {
	if c.Spec.Encoding.Batch.Age != "" || c.Class().Hot() {
		return c.Spec.Encoding.Batch.AgeLimit()
	}
	return SmallBatchAge
}

// SizeLimit is the batch size in bytes with its default.
func (b BatchLimits) SizeLimit() int {
	if n, err := protocol.ParseSize(b.Bytes); err == nil {
		return int(n) // Validate bounds it
	}
	return DefaultBatch
}

// Validate checks everything that can be checked without a vehicle. The error
// wraps ErrInvalid and names the field and what was expected.
func (c *Campaign) Validate() error {
	if err := c.validateHead(KindCampaign); err != nil {
		return err
	}
	return c.Spec.validate()
}

// ValidateRemoval is Validate for a document of KindRemoval: it has no spec.
func (c *Campaign) ValidateRemoval() error {
	if err := c.validateHead(KindRemoval); err != nil {
		return err
	}
	s := &c.Spec
	if len(s.Signals)+len(s.Collect) > 0 || s.Priority != "" || s.Purpose != "" || s.Encoding != (Encoding{}) {
		return invalid("spec", "expected none in a removal")
	}
	return nil
}

// validateHead checks everything but the spec.
func (c *Campaign) validateHead(kind string) error {
	if c.APIVersion != APIVersion {
		return invalid("apiVersion", "expected "+APIVersion)
	}
	if c.Kind != kind {
		return invalid("kind", "expected "+kind)
	}
	if _, err := protocol.ParseCampaignID(string(c.Metadata.ID)); err != nil {
		return invalid("metadata.id", err.Error())
	}
	if c.Metadata.Revision == 0 {
		return invalid("metadata.revision", "expected a number from 1")
	}
	return nil
}

func (s *Spec) validate() error {
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
		if _, err := protocol.ParsePriority(s.Priority); err != nil {
			return invalid("spec.priority", err.Error())
		}
	}
	if s.Purpose != "" {
		if err := protocol.CheckID("purpose", s.Purpose); err != nil {
			return invalid("spec.purpose", err.Error())
		}
	}
	return s.Encoding.validate()
}

func (s *Spec) validateRules() error {
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
	if _, err := protocol.MatchName(s.Path, ""); err != nil {
		return errors.New("expected a glob")
	}
	return nil
}

func (r *Rule) validate(field string, aliases map[string]SignalSelector) error {
	if err := protocol.CheckID("id", r.ID); err != nil {
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
		if n, err := protocol.ParseSize(b.Bytes); err != nil || n < MinBatch || n > MaxBatch {
			return invalid("spec.encoding.batch.bytes", "expected 1KiB to 192KiB, such as 64KiB")
		}
	}
	return nil
}
