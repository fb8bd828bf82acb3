package update

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
	"telltale.dev/protocol/updates"
)

type startInput struct {
	backbone.VehiclePath
	Body UpdateRequest
}

type filePath struct {
	File string `path:"file" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the file"`
}

// Routes is an ability of rooms.
func (u *Updates) Routes(api huma.API) {
	huma.Get(api, "/v1/updates", u.listFiles, backbone.About("list-update-files", "Update files that are kept, newest first"))
	huma.Register(api, uploadOperation(), u.upload)
	huma.Delete(api, "/v1/updates/{file}", u.deleteFile, backbone.About("delete-update-file", "Forget an update file that no update under way needs",
		http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable))
	huma.Get(api, "/v1/updates/vehicles", u.listUpdates,
		backbone.About("list-updates", "The newest update of each vehicle that has one, by vehicle", http.StatusBadRequest))
	huma.Get(api, "/v1/vehicles/{vid}/update", u.firmware,
		backbone.About("get-update", "What runs on a vehicle's devices, and where its newest update stands", http.StatusNotFound))
	huma.Put(api, "/v1/vehicles/{vid}/update", u.start, backbone.About("start-update", "Begin an update of one device of the vehicle",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable))
	huma.Post(api, "/v1/vehicles/{vid}/update/cancel", u.cancel,
		backbone.About("cancel-update", "Ask the device to drop its update; it does while nothing is written to a slot",
			http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable))
}

func (u *Updates) listFiles(context.Context, *struct{}) (*backbone.Answer[[]UpdateFile], error) {
	list := []UpdateFile{}
	for _, f := range u.Files() {
		list = append(list, shownFile(&f))
	}
	return &backbone.Answer[[]UpdateFile]{Body: list}, nil
}

func (u *Updates) deleteFile(_ context.Context, in *filePath) (*struct{}, error) {
	hash, err := updates.ParseFileHash(in.File)
	if err != nil {
		err = ErrUnknownFile
	} else {
		err = u.Delete(hash)
	}
	if err != nil {
		return nil, u.refused("update file not deleted", err)
	}
	return nil, nil
}

func (u *Updates) listUpdates(_ context.Context, in *backbone.Page) (*backbone.Paged[Update], error) {
	list := []Update{}
	for _, e := range u.Executions() {
		list = append(list, shown(&e))
	}
	slices.SortFunc(list, func(a, b Update) int { return strings.Compare(a.Vehicle, b.Vehicle) })
	return backbone.Cut(list, func(u Update) string { return u.Vehicle }, *in, "/v1/updates/vehicles", nil)
}

func (u *Updates) firmware(_ context.Context, in *backbone.VehiclePath) (*backbone.Answer[Firmware], error) {
	vid := protocol.VehicleID(in.VID)
	if _, ok := u.cfg.Devices(vid); !ok {
		return nil, backbone.NoVehicle()
	}
	e, devices := u.Status(vid)
	out := Firmware{Vehicle: in.VID, Devices: []RunningFirmware{}}
	if e != nil {
		update := shown(e)
		out.Update = &update
	}
	for did, d := range devices {
		out.Devices = append(out.Devices, RunningFirmware{
			Device: string(did), Version: d.Running.Version, Release: d.Running.Release, Board: d.Running.Board,
			Slot: d.Running.Slot, Trial: d.Running.Trial, Confirmed: d.Running.Confirmed, Told: time.UnixMilli(d.At).UTC(),
		})
	}
	slices.SortFunc(out.Devices, func(a, b RunningFirmware) int { return strings.Compare(a.Device, b.Device) })
	return &backbone.Answer[Firmware]{Body: out}, nil
}

func (u *Updates) start(ctx context.Context, in *startInput) (*backbone.Answer[Update], error) {
	r := Request{
		Vehicle: protocol.VehicleID(in.VID), Device: protocol.DeviceID(in.Body.Device), AllowDowngrade: in.Body.AllowDowngrade,
		Health: time.Duration(in.Body.Health) * time.Second, Deadlines: map[updates.State]time.Duration{},
	}
	for s, d := range in.Body.Deadlines {
		r.Deadlines[updates.State(s)] = time.Duration(d) * time.Second
	}
	var e Execution
	var err error
	if r.File, err = updates.ParseFileHash(in.Body.File); err != nil {
		err = ErrUnknownFile
	} else {
		e, err = u.Start(ctx, r)
	}
	if err != nil {
		return nil, u.refused("update not started", err)
	}
	return &backbone.Answer[Update]{Body: shown(&e)}, nil
}

func (u *Updates) cancel(ctx context.Context, in *backbone.VehiclePath) (*backbone.Answer[Update], error) {
	e, err := u.Cancel(ctx, protocol.VehicleID(in.VID))
	if err != nil {
		return nil, u.refused("update not canceled", err)
	}
	return &backbone.Answer[Update]{Body: shown(&e)}, nil
}

// refused turns an error into an answer; one that no caller is to blame for is for the log.
func (u *Updates) refused(what string, err error) error {
	if status := statusOf(err); status != 0 {
		return huma.NewError(status, err.Error())
	}
	return backbone.Failed(u.cfg.Log, what, err)
}

// statusOf gives the status that an error's cause has in HTTP; 0: the room cannot do its work now.
func statusOf(err error) int {
	for _, known := range []struct {
		err    error
		status int
	}{
		{ErrUnknownVehicle, http.StatusNotFound}, {ErrUnknownFile, http.StatusNotFound}, {ErrNone, http.StatusConflict},
		{ErrUnderWay, http.StatusConflict}, {ErrInUse, http.StatusConflict},
		{ErrWhichDevice, http.StatusUnprocessableEntity}, {ErrRequest, http.StatusUnprocessableEntity},
		{ErrTooLarge, http.StatusRequestEntityTooLarge}, {ErrNoSpace, http.StatusInsufficientStorage},
		{ErrBusy, http.StatusServiceUnavailable},
		{firmware.ErrNotUpdate, http.StatusUnprocessableEntity}, {signed.ErrWrongKey, http.StatusUnprocessableEntity},
		{signed.ErrSignature, http.StatusUnprocessableEntity}, {firmware.ErrTruncated, http.StatusUnprocessableEntity},
		{firmware.ErrCorrupt, http.StatusUnprocessableEntity},
	} {
		if errors.Is(err, known.err) {
			return known.status
		}
	}
	return 0
}
