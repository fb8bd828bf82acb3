package world

import "os"

// Starter is the campaign of vehicles that are given none of their own: every sample of every signal.
// An agent without a campaign collects nothing. Its batches are never more than 10 s late, also those of a quiet car.
const Starter = `apiVersion: campaigns.v1
kind: Campaign
metadata: {id: everything, revision: 1}
spec:
  collect: [{id: all}]
  encoding: {batch: {age: 10s}}
`

// writeStarter puts the starter campaign where the agent is told to find it.
func (d *Device) writeStarter() error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(d.cfg.Campaign, []byte(Starter), 0o600)
}
