package campaigns

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// Member is one campaign of a set, read by itself: what is wrong with it is no fault
// of the others.
type Member struct {
	Campaign Campaign // when Err is set: id and revision, if they could be read
	Err      error    // wraps document.ErrMalformed, or document.ErrNotSupported
}

// MaxMembers is how many campaigns a set may have. A vehicle answers for each of them, and its answer must fit into
// one message, whatever the cloud or who poses as one sends.
const MaxMembers = 256

// ParseSet reads the document "campaigns" of a vehicle, within the bounds of
// document.Unmarshal. Fields that
// are not known are passed over as document.UnmarshalOpen does it, in the set and in each campaign.
// The set comes without its campaigns, which are not validated. The error is about the set
// as a whole; it wraps document.ErrLimit when there are more than MaxMembers.
func ParseSet(data []byte) (Set, []Member, error) {
	var set struct {
		Version   int               `cbor:"v,required"`
		Revision  uint64            `cbor:"rev,required"`
		Campaigns []cbor.RawMessage `cbor:"campaigns,required"`
	}
	if err := document.UnmarshalOpen(data, &set); err != nil {
		return Set{}, nil, fmt.Errorf("campaigns: %w", err)
	}
	if len(set.Campaigns) > MaxMembers {
		return Set{}, nil, fmt.Errorf("campaigns: %d of them, expected at most %d: %w", len(set.Campaigns), MaxMembers, document.ErrLimit)
	}
	members := make([]Member, len(set.Campaigns))
	for i, raw := range set.Campaigns {
		m := &members[i]
		if m.Err = document.UnmarshalOpen(raw, &m.Campaign); m.Err != nil {
			m.Campaign = Campaign{Metadata: identify(raw)}
		}
	}
	return Set{Version: set.Version, Revision: set.Revision}, members, nil
}

// identify reads what it can of the metadata of a campaign that cannot be read whole.
func identify(raw []byte) Metadata {
	var c struct {
		Metadata cbor.RawMessage `cbor:"metadata"`
	}
	var id struct {
		ID protocol.CampaignID `cbor:"id"`
	}
	var revision struct {
		Revision uint64 `cbor:"revision"`
	}
	if document.UnmarshalKnown(raw, &c) != nil || len(c.Metadata) == 0 {
		return Metadata{}
	}
	if document.UnmarshalKnown(c.Metadata, &id) != nil || document.UnmarshalKnown(c.Metadata, &revision) != nil {
		return Metadata{ID: id.ID}
	}
	return Metadata{ID: id.ID, Revision: revision.Revision}
}
