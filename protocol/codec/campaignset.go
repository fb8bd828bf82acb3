package codec

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"telltale.dev/protocol"
)

// SetMember is one campaign of a set, read by itself: what is wrong with it is no fault
// of the others.
type SetMember struct {
	Campaign protocol.Campaign // when Err is set: id and revision, if they could be read
	Err      error             // wraps ErrMalformed, or ErrNotSupported
}

// ParseCampaignSet reads the document "campaigns" of a vehicle, within the bounds of
// Unmarshal. Fields that
// are not known are passed over as UnmarshalOpen does it, in the set and in each campaign.
// The set comes without its campaigns, which are not validated. The error is about the set
// as a whole.
func ParseCampaignSet(data []byte) (protocol.CampaignSet, []SetMember, error) {
	var set struct {
		Version   int               `cbor:"v"`
		Revision  uint64            `cbor:"rev"`
		Campaigns []cbor.RawMessage `cbor:"campaigns"`
	}
	if err := UnmarshalOpen(data, &set); err != nil {
		return protocol.CampaignSet{}, nil, fmt.Errorf("campaigns: %w", err)
	}
	members := make([]SetMember, len(set.Campaigns))
	for i, raw := range set.Campaigns {
		m := &members[i]
		if m.Err = UnmarshalOpen(raw, &m.Campaign); m.Err != nil {
			m.Campaign = protocol.Campaign{Metadata: identify(raw)}
		}
	}
	return protocol.CampaignSet{Version: set.Version, Revision: set.Revision}, members, nil
}

// identify reads what it can of the metadata of a campaign that cannot be read whole.
func identify(raw []byte) protocol.CampaignMetadata {
	var c struct {
		Metadata cbor.RawMessage `cbor:"metadata"`
	}
	var id struct {
		ID protocol.CampaignID `cbor:"id"`
	}
	var revision struct {
		Revision uint64 `cbor:"revision"`
	}
	mode, err := openDecoding()
	if err != nil || mode.Unmarshal(raw, &c) != nil || len(c.Metadata) == 0 {
		return protocol.CampaignMetadata{}
	}
	if mode.Unmarshal(c.Metadata, &id) != nil || mode.Unmarshal(c.Metadata, &revision) != nil {
		return protocol.CampaignMetadata{ID: id.ID}
	}
	return protocol.CampaignMetadata{ID: id.ID, Revision: revision.Revision}
}
