package cloud

import (
	"context"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/campaign"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/cloud/state"
	"telltale.dev/cloud/update"
	"telltale.dev/protocol"
)

// This file opens the rooms of the table that need more than the ground: each is given what it needs of others.

func openState(ctx context.Context, c *Cloud) (_ *state.Room, err error) {
	ground := c.ground("state")
	if ground.Store, err = c.backbone.Store("state"); err != nil {
		return nil, err
	}
	c.states, err = state.Open(ctx, ground)
	return c.states, err
}

// openVehicles shows the registry, which is open already.
func openVehicles(_ context.Context, c *Cloud) (*registry.Desk, error) {
	c.vehicles = &registry.Desk{Registry: c.registry, Outlook: registry.Outlook{
		Since: c.started,
		Presence: func(vid protocol.VehicleID, did protocol.DeviceID) (protocol.Presence, time.Time, bool) {
			p, ok := c.states.DevicePresence(vid, did)
			return p.Presence, p.Since, ok
		},
		Signals: c.states.Summary,
		Disconnect: func(vid protocol.VehicleID, did protocol.DeviceID) {
			c.broker.Disconnect(vid, did, ingest.CodeNotAuthorized)
		},
		DeleteEverywhere: c.deleteVehicle,
		Log:              c.cfg.Log,
	}}
	return c.vehicles, nil
}

func openCampaigns(ctx context.Context, c *Cloud) (*campaign.Campaigns, error) {
	store, err := c.backbone.Store("campaigns")
	if err != nil {
		return nil, err
	}
	return campaign.Open(ctx, campaign.Config{
		Store: store, Now: time.Now, Log: c.cfg.Log,
		Vehicles: func() (list []protocol.VehicleID) {
			for _, v := range c.registry.Vehicles() {
				list = append(list, v.ID)
			}
			return list
		},
		Deliver: c.deliver,
	})
}

func openUpdates(ctx context.Context, c *Cloud) (*update.Updates, error) {
	store, err := c.backbone.Store("updates")
	if err != nil {
		return nil, err
	}
	c.updates, err = update.Open(ctx, update.Config{
		Dir: filepath.Join(c.cfg.Dir, "updates"), Store: store, Now: time.Now, Keys: c.cfg.UpdateKeys, MaxFile: c.cfg.MaxUpdate,
		Devices: func(vid protocol.VehicleID) (list []protocol.DeviceID, ok bool) {
			v, ok := c.registry.Vehicle(vid)
			for _, d := range v.Devices {
				list = append(list, d.ID)
			}
			return list, ok
		},
		Deliver: c.deliver,
		Log:     c.cfg.Log,
	})
	return c.updates, err
}

// openArrivals shows what ingest does; the processors follow when they are open.
func openArrivals(_ context.Context, c *Cloud) (_ *ingest.Desk, err error) {
	dead := c.backbone.Feed(backbone.Dead)
	c.arrivals = &ingest.Desk{
		Letters: ingest.LetterBox{Feed: dead}, Replayer: &ingest.Replayer{Dead: dead, Publisher: c.backbone}, Known: c.known, Log: c.cfg.Log,
	}
	c.arrivals.Schemas, err = ingest.OpenSchemas(c.backbone, c.registry.WasDeleted)
	return c.arrivals, err
}

func (c *Cloud) openAPI(context.Context) (err error) {
	c.api, err = api.New(api.Config{
		Listen: c.cfg.HTTP, Gate: c.gateAPI, Version: c.cfg.Version, Live: c.live,
		Presences: func(vid string) (list []api.PresenceEvent, known bool) {
			known = c.vehicles.EachPresence(protocol.VehicleID(vid), func(did, presence string, since time.Time) {
				list = append(list, api.PresenceEvent{Time: since, Device: did, Presence: presence})
			})
			return list, known
		},
		Extensions: extensions(append(table(), c.cfg.rooms...), c.rooms), Health: c.health,
		Metrics: promhttp.HandlerFor(c.figures, promhttp.HandlerOpts{}), Origins: c.cfg.Origins, Log: c.cfg.Log,
	})
	return err
}
