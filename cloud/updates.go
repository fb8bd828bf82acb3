package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/provisioning"
	"telltale.dev/cloud/update"
	"telltale.dev/protocol"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
	"telltale.dev/protocol/updates"
)

// openUpdates joins the room of firmware updates.
func (c *Cloud) openUpdates(ctx context.Context) error {
	bucket, err := c.bucket("updates")
	if err != nil {
		return err
	}
	c.updates, err = update.Open(ctx, update.Config{
		Dir: filepath.Join(c.cfg.Dir, "updates"), Store: bucket, Now: time.Now, Keys: c.cfg.UpdateKeys, MaxFile: c.cfg.MaxUpdate,
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
	return err
}

// openDownloads listens for devices that fetch update files.
func (c *Cloud) openDownloads(config *tls.Config) error {
	if c.cfg.Download == "" {
		return nil
	}
	server, err := update.NewServer(update.ServerConfig{
		Listen: c.cfg.Download, Gate: c.gateDownloads, TLS: config, Updates: c.updates, Identify: provisioning.CertificateHolder, Active: c.registry.Active,
		Log: c.cfg.Log,
	})
	if err != nil && c.cfg.Download == updates.DownloadEndpoint(c.cfg.MQTT) {
		return fmt.Errorf("download: %w; %s is the port for MQTT plus 1: choose another one with --download HOST:PORT, or none", err, c.cfg.Download)
	}
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	c.downloads = server
	return nil
}

// DownloadAddr is where devices fetch update files; nil when they cannot.
func (c *Cloud) DownloadAddr() net.Addr {
	if c.downloads == nil {
		return nil
	}
	return c.downloads.Addr()
}

// Upload implements api.Updates.
func (v views) Upload(ctx context.Context, r io.Reader) (api.UpdateFile, error) {
	f, err := v.updates.Upload(ctx, r)
	return updateFile(f), refusal(err)
}

// Files implements api.Updates.
func (v views) Files() []api.UpdateFile {
	list := []api.UpdateFile{}
	for _, f := range v.updates.Files() {
		list = append(list, updateFile(f))
	}
	return list
}

// DeleteFile implements api.Updates.
func (v views) DeleteFile(hash string) error {
	h, err := updates.ParseFileHash(hash)
	if err != nil {
		return refusal(update.ErrUnknownFile)
	}
	return refusal(v.updates.Delete(h))
}

// StartUpdate implements api.Updates.
func (v views) StartUpdate(ctx context.Context, vid string, in api.UpdateRequest) (api.Update, error) {
	r := update.Request{
		Vehicle: protocol.VehicleID(vid), Device: protocol.DeviceID(in.Device), AllowDowngrade: in.AllowDowngrade,
		Health: time.Duration(in.Health) * time.Second, Deadlines: map[updates.State]time.Duration{},
	}
	for s, d := range in.Deadlines {
		r.Deadlines[updates.State(s)] = time.Duration(d) * time.Second
	}
	var err error
	if r.File, err = updates.ParseFileHash(in.File); err != nil {
		return api.Update{}, refusal(update.ErrUnknownFile)
	}
	e, err := v.updates.Start(ctx, r)
	if err != nil {
		return api.Update{}, refusal(err)
	}
	return shownUpdate(&e), nil
}

// CancelUpdate implements api.Updates.
func (v views) CancelUpdate(ctx context.Context, vid string) (api.Update, error) {
	e, err := v.updates.Cancel(ctx, protocol.VehicleID(vid))
	if err != nil {
		return api.Update{}, refusal(err)
	}
	return shownUpdate(&e), nil
}

// Firmware implements api.Updates.
func (v views) Firmware(vid string) (api.Firmware, bool) {
	if _, ok := v.registry.Vehicle(protocol.VehicleID(vid)); !ok {
		return api.Firmware{}, false
	}
	e, devices := v.updates.Status(protocol.VehicleID(vid))
	out := api.Firmware{Vehicle: vid, Devices: []api.RunningFirmware{}}
	if e != nil {
		shown := shownUpdate(e)
		out.Update = &shown
	}
	for did, d := range devices {
		out.Devices = append(out.Devices, api.RunningFirmware{
			Device: string(did), Version: d.Running.Version, Release: d.Running.Release, Board: d.Running.Board,
			Slot: d.Running.Slot, Trial: d.Running.Trial, Confirmed: d.Running.Confirmed, Told: time.UnixMilli(d.At).UTC(),
		})
	}
	slices.SortFunc(out.Devices, func(a, b api.RunningFirmware) int { return strings.Compare(a.Device, b.Device) })
	return out, true
}

// ListUpdates implements api.Updates.
func (v views) ListUpdates() []api.Update {
	list := []api.Update{}
	for _, e := range v.updates.Executions() {
		list = append(list, shownUpdate(&e))
	}
	return list
}

func updateFile(f update.File) api.UpdateFile {
	return api.UpdateFile{
		File: f.Hash.String(), Size: f.Size, Board: f.Board, Version: f.Version, Release: f.Release, Key: f.Key, Uploaded: time.UnixMilli(f.Uploaded).UTC(),
	}
}

func shownUpdate(e *update.Execution) api.Update {
	out := api.Update{
		ID: string(e.ID), Vehicle: string(e.Vehicle), Device: string(e.Device), File: e.File.Hash.String(),
		Version: e.File.Version, Release: e.File.Release, Size: e.File.Size, Bytes: e.Bytes, AllowDowngrade: e.AllowDowngrade,
		State: string(e.State), Ended: e.State.Ended(), Reason: string(e.Reason), Detail: e.Detail,
		Began: time.UnixMilli(e.Began).UTC(), Changed: time.UnixMilli(e.Changed).UTC(), Heard: moment(e.Heard), Deadline: moment(e.Deadline),
		TimedOutIn: string(e.TimedOutIn), Late: e.Late, Canceling: e.Canceling, Steps: []api.UpdateStep{},
	}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, api.UpdateStep{State: string(s.State), Time: time.UnixMilli(s.At).UTC(), Reason: string(s.Reason)})
	}
	return out
}

// moment is a time that may be unknown.
func moment(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// refusal says in the words of HTTP why the room of updates does not do what was asked.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []struct {
		err    error
		status int
	}{
		{update.ErrUnknownVehicle, http.StatusNotFound}, {update.ErrUnknownFile, http.StatusNotFound}, {update.ErrNone, http.StatusConflict},
		{update.ErrUnderWay, http.StatusConflict}, {update.ErrInUse, http.StatusConflict},
		{update.ErrWhichDevice, http.StatusUnprocessableEntity}, {update.ErrRequest, http.StatusUnprocessableEntity},
		{update.ErrTooLarge, http.StatusRequestEntityTooLarge}, {update.ErrNoSpace, http.StatusInsufficientStorage},
		{update.ErrBusy, http.StatusServiceUnavailable},
		{firmware.ErrNotUpdate, http.StatusUnprocessableEntity}, {signed.ErrWrongKey, http.StatusUnprocessableEntity},
		{signed.ErrSignature, http.StatusUnprocessableEntity}, {firmware.ErrTruncated, http.StatusUnprocessableEntity},
		{firmware.ErrCorrupt, http.StatusUnprocessableEntity},
	} {
		if errors.Is(err, known.err) {
			return &api.Refusal{Status: known.status, Detail: err.Error()}
		}
	}
	return err
}
