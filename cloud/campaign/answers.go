package campaign

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// answerPrefix begins the store's keys of answers; the vehicle's identifier follows.
const answerPrefix = "answers/"

// answers is the stored form of what one vehicle said of the campaigns in force.
type answers struct {
	Version   int                            `cbor:"v"` // 1
	Campaigns map[protocol.CampaignID]answer `cbor:"campaigns"`
}

type answer struct {
	Revision uint64        `cbor:"rev"`
	Result   VehicleResult `cbor:"result"`
}

// savers is how many entries are on their way to the disk at once, so that they share its syncs.
const savers = 32

// Save writes the answers that changed since the last Save. When it returns
// without an error, everything reported before it began is on disk, also when
// another Save was under way. After an error what is not on disk is written by the next one.
func (c *Campaigns) Save(ctx context.Context) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	var group errgroup.Group
	group.SetLimit(savers)
	for vid, all := range c.takeDirty() {
		group.Go(func() error {
			if err := c.saveAnswers(ctx, answerPrefix+string(vid), all); err != nil {
				c.markDirty(vid)
				return fmt.Errorf("campaigns: answers: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (c *Campaigns) saveAnswers(ctx context.Context, key string, all answers) error {
	if len(all.Campaigns) == 0 {
		return c.cfg.Store.Delete(ctx, key)
	}
	data, err := document.Marshal(all)
	if err != nil {
		return err
	}
	return c.cfg.Store.Put(ctx, key, data)
}

func (c *Campaigns) takeDirty() map[protocol.VehicleID]answers {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := make(map[protocol.VehicleID]answers, len(c.dirty))
	for vid := range c.dirty {
		all := answers{Version: 1, Campaigns: map[protocol.CampaignID]answer{}}
		for id, r := range c.rollouts {
			if a, ok := r.answers[vid]; ok {
				all.Campaigns[id] = answer{r.revision, a}
			}
		}
		taken[vid] = all
	}
	clear(c.dirty)
	return taken
}

func (c *Campaigns) markDirty(vid protocol.VehicleID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty[vid] = struct{}{}
}

// load takes the stored answers about what is in force. One that cannot be read is
// passed over: the vehicle answers again at its next connection.
func (c *Campaigns) load(entries map[string][]byte) {
	for key, data := range entries {
		name, ok := strings.CutPrefix(key, answerPrefix)
		if !ok {
			continue
		}
		var all answers
		if document.Unmarshal(data, &all) != nil || all.Version != 1 {
			continue
		}
		for id, a := range all.Campaigns {
			if r := c.rollouts[id]; r != nil && r.revision == a.Revision && known(a.Result.State) {
				r.answer(protocol.VehicleID(name), a.Result)
			}
		}
	}
}
