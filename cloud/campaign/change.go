package campaign

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
)

// MaxSet is the largest document with all campaigns, in bytes; it leaves room for
// topic and properties below protocol.MaxPacket.
const MaxSet = protocol.MaxPacket - 4<<10

// refusal is why a pushed document changes nothing.
type refusal struct {
	reason   reasons.Reason
	revision uint64 // 0: unknown
	detail   string
}

// change gives the set that a pushed document makes of the newest one, without its own
// revision. It is not changed when the document was taken before. The revision is the
// document's. state says where a campaign of the set stands, for the refusal of an old revision.
func change(set campaigns.Set, id string, payload []byte, state func(*campaigns.Campaign) string) (
	next campaigns.Set, revision uint64, changed bool, r *refusal) {
	doc, r := parse(id, payload)
	if r != nil {
		return set, 0, false, r
	}
	revision = doc.Metadata.Revision
	i := find(set, protocol.CampaignID(id))
	switch {
	case i < 0 && doc.Kind == campaigns.KindRemoval:
		return set, revision, false, nil
	case i >= 0:
		if newer, r := replaces(doc, &set.Campaigns[i], state); !newer {
			return set, revision, false, r
		}
	}
	set.Campaigns = slices.Clone(set.Campaigns)
	switch {
	case doc.Kind == campaigns.KindRemoval:
		set.Campaigns = slices.Delete(set.Campaigns, i, i+1)
		return set, revision, true, nil
	case i >= 0:
		set.Campaigns[i] = *doc
	default:
		set.Campaigns = append(set.Campaigns, *doc)
	}
	return set, revision, true, fits(set, doc)
}

func find(set campaigns.Set, id protocol.CampaignID) int {
	return slices.IndexFunc(set.Campaigns, func(c campaigns.Campaign) bool { return c.Metadata.ID == id })
}

// parse reads a document that was pushed to the topic of id.
func parse(id string, payload []byte) (*campaigns.Campaign, *refusal) {
	if len(payload) == 0 {
		return nil, &refusal{reasons.ValidationFailed, 0, "the document is empty; what takes a campaign back is a document " +
			"with kind: Removal, the campaign's id and a higher revision"}
	}
	doc, err := campaigns.ParseChange(payload)
	if err != nil {
		reason := reasons.ValidationFailed
		if errors.Is(err, document.ErrLimit) {
			reason = reasons.TooLarge
		}
		return nil, &refusal{reason, campaigns.Revision(payload), err.Error()}
	}
	if string(doc.Metadata.ID) != id {
		return nil, &refusal{reasons.ValidationFailed, doc.Metadata.Revision, "metadata.id: expected the id of the topic"}
	}
	return doc, nil
}

// replaces says whether doc takes the place of the newest revision that was accepted. A
// revision stands for one content: the same revision with another one is refused, also
// when vehicles rejected it.
func replaces(doc, newest *campaigns.Campaign, state func(*campaigns.Campaign) string) (bool, *refusal) {
	have, got := newest.Metadata.Revision, doc.Metadata.Revision
	if got > have {
		return true, nil
	}
	a, errA := document.Marshal(doc)
	b, errB := document.Marshal(newest)
	if got == have && errA == nil && errB == nil && bytes.Equal(a, b) {
		return false, nil
	}
	return false, &refusal{reasons.StaleRevision, got,
		fmt.Sprintf("metadata.revision: expected more than %d, the newest one accepted: %s", have, state(newest))}
}

// fits refuses a set that no vehicle could receive.
func fits(set campaigns.Set, doc *campaigns.Campaign) *refusal {
	data, err := document.Marshal(set)
	if err == nil && len(data)+8 > MaxSet { // the set's own revision is still to grow
		err = fmt.Errorf("all campaigns together have %d bytes with it, expected at most %d: remove another one first", len(data), MaxSet)
	}
	if n := len(set.Campaigns); err == nil && n > campaigns.MaxMembers {
		err = fmt.Errorf("%d campaigns with it, expected at most %d: remove another one first", n, campaigns.MaxMembers)
	}
	if err != nil {
		return &refusal{reasons.TooLarge, doc.Metadata.Revision, err.Error()}
	}
	return nil
}
