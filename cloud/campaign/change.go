package campaign

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// MaxSet is the largest document with all campaigns, in bytes; it leaves room for
// topic and properties below protocol.MaxPacket.
const MaxSet = protocol.MaxPacket - 4<<10

// refusal is why a pushed document changes nothing.
type refusal struct {
	reason   protocol.Reason
	revision uint64 // 0: unknown
	err      error
}

// change gives the set that a pushed document makes of the one in force, without
// its revision. It is not changed when the document is in force already.
func change(set protocol.CampaignSet, id string, payload []byte) (next protocol.CampaignSet, changed bool, r *refusal) {
	i := find(set, protocol.CampaignID(id))
	if len(payload) == 0 {
		if i >= 0 {
			set.Campaigns = slices.Delete(slices.Clone(set.Campaigns), i, i+1)
		}
		return set, i >= 0, nil
	}
	doc, r := parse(id, payload)
	if r != nil {
		return set, false, r
	}
	if i >= 0 {
		newer, r := replaces(doc, &set.Campaigns[i])
		if !newer {
			return set, false, r
		}
	}
	set.Campaigns = slices.Clone(set.Campaigns)
	if i >= 0 {
		set.Campaigns[i] = *doc
	} else {
		set.Campaigns = append(set.Campaigns, *doc)
	}
	return set, true, fits(set, doc)
}

func find(set protocol.CampaignSet, id protocol.CampaignID) int {
	return slices.IndexFunc(set.Campaigns, func(c protocol.Campaign) bool { return c.Metadata.ID == id })
}

// parse reads a document that was pushed to the topic of id.
func parse(id string, payload []byte) (*protocol.Campaign, *refusal) {
	doc, err := codec.ParseCampaign(payload)
	if errors.Is(err, codec.ErrLimit) {
		return nil, &refusal{protocol.ReasonTooLarge, 0, err}
	}
	if err != nil {
		return nil, &refusal{protocol.ReasonValidationFailed, 0, err}
	}
	if string(doc.Metadata.ID) != id {
		err := fmt.Errorf("metadata.id: expected the id of the topic: %w", protocol.ErrCampaign)
		return nil, &refusal{protocol.ReasonValidationFailed, doc.Metadata.Revision, err}
	}
	return doc, nil
}

// replaces says whether doc takes the place of the campaign in force. A revision
// stands for one content: the same revision with another one is refused.
func replaces(doc, inForce *protocol.Campaign) (bool, *refusal) {
	have, got := inForce.Metadata.Revision, doc.Metadata.Revision
	if got > have {
		return true, nil
	}
	a, errA := codec.Marshal(doc)
	b, errB := codec.Marshal(inForce)
	if got == have && errA == nil && errB == nil && bytes.Equal(a, b) {
		return false, nil
	}
	err := fmt.Errorf("metadata.revision: expected more than %d, which is in force: %w", have, protocol.ErrCampaign)
	return false, &refusal{protocol.ReasonStaleRevision, got, err}
}

// fits refuses a set that no vehicle could receive.
func fits(set protocol.CampaignSet, doc *protocol.Campaign) *refusal {
	data, err := codec.Marshal(set)
	if err == nil && len(data)+8 > MaxSet { // the set's own revision is still to grow
		err = fmt.Errorf("all campaigns together have %d bytes with it, expected at most %d: remove another one first", len(data), MaxSet)
	}
	if err != nil {
		return &refusal{protocol.ReasonTooLarge, doc.Metadata.Revision, err}
	}
	return nil
}
