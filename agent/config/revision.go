package config

import (
	"errors"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
)

// Revision gives the revision of a campaign document that was not applied yet, and whether it can be used: whether it, and what
// it says of each campaign, can be read. Where that is not so, what an older one says of the campaign is to run, so that
// the older one is still needed. A campaign that this agent does not support makes no difference: it is refused alone,
// and so it would be in the next set. Revision does not ask whether campaigns fit the vehicle, which takes long.
func Revision(payload []byte) (revision uint64, usable bool) {
	set, members, err := campaigns.ParseSet(payload)
	if err != nil || set.Version != setVersion {
		return 0, false
	}
	for i := range members {
		err := members[i].Err
		if err == nil {
			err = members[i].Campaign.Validate()
		}
		if err != nil && !errors.Is(err, document.ErrNotSupported) {
			return 0, false
		}
	}
	return set.Revision, true
}
