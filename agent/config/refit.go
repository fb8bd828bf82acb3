package config

import "telltale.dev/protocol/campaigns"

// Refit puts the campaigns that are in force into force anew, because the
// vehicle's signals have changed. prepare does everything that can go wrong;
// no document is applied meanwhile. On an error nothing has changed.
func (k *Keeper) Refit(prepare func([]campaigns.Campaign) (apply func(), err error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	apply, err := prepare(k.inForce(k.set))
	if err != nil {
		return err
	}
	apply()
	return nil
}
