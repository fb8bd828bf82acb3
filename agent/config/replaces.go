package config

import "telltale.dev/protocol/campaigns"

// Replaces says whether a newer campaign document makes an older one useless that has not been applied yet. It does not when
// it is of a lower revision, or has a campaign that cannot be read: then what the older one says of that campaign
// is to run. It does not ask whether campaigns fit the vehicle, which takes long.
func Replaces(newer, older []byte) bool {
	revision, ok := usable(newer)
	former, could := usable(older)
	return !could || ok && revision >= former
}

// usable says whether a set can be read, with all its campaigns, and gives its revision.
func usable(payload []byte) (revision uint64, ok bool) {
	set, members, err := campaigns.ParseSet(payload)
	if err != nil || set.Version != setVersion {
		return 0, false
	}
	for i := range members {
		if members[i].Err != nil || members[i].Campaign.Validate() != nil {
			return 0, false
		}
	}
	return set.Revision, true
}
