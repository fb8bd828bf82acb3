package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Updates keeps update files and brings them to vehicles. Errors that are a *Refusal
// are shown as they are; all others are for the log.
type Updates interface {
	Upload(ctx context.Context, r io.Reader) (UpdateFile, error)
	Files() []UpdateFile
	DeleteFile(hash string) error
	StartUpdate(ctx context.Context, vid string, r UpdateRequest) (Update, error)
	CancelUpdate(ctx context.Context, vid string) (Update, error)
	Firmware(vid string) (Firmware, bool)
	ListUpdates() []Update
}

// Refusal is an error with the status that its cause has in HTTP.
type Refusal struct {
	Status int
	Detail string
}

func (r *Refusal) Error() string { return r.Detail }

// UpdateFile is an update file that is kept.
type UpdateFile struct {
	File     string    `json:"file" doc:"SHA-256 of the whole file, in hexadecimal"`
	Size     int64     `json:"size" doc:"bytes"`
	Board    string    `json:"board" doc:"the hardware it is for"`
	Version  string    `json:"version"`
	Release  uint64    `json:"release" doc:"rises with every firmware given out"`
	Key      string    `json:"key" doc:"id of the key that signed it"`
	Uploaded time.Time `json:"uploaded"`
}

// UpdateRequest asks for an update of one device.
type UpdateRequest struct {
	File           string            `json:"file" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of an uploaded update file"`
	Device         string            `json:"did,omitempty" maxLength:"64" doc:"needed when the vehicle has several devices"`
	AllowDowngrade bool              `json:"allow_downgrade,omitempty" doc:"take a release older than the one running"`
	Health         uint32            `json:"health_s,omitempty" doc:"seconds that the new firmware has to be healthy and connected; 0: the device decides"`
	Deadlines      map[string]uint32 `json:"deadlines_s,omitempty" doc:"state → seconds after which it is TIMED_OUT, instead of the defaults"`
}

// Update is where an update stands.
type Update struct {
	ID             string       `json:"id"`
	Vehicle        string       `json:"vid"`
	Device         string       `json:"did"`
	File           string       `json:"file"`
	Version        string       `json:"version"`
	Release        uint64       `json:"release"`
	Size           int64        `json:"size" doc:"bytes of the file"`
	Bytes          int64        `json:"bytes" doc:"of them on the device, as it last said"`
	AllowDowngrade bool         `json:"allow_downgrade"`
	State          string       `json:"state" enum:"PENDING,DELIVERED,DOWNLOADING,VERIFIED,INSTALLING,REBOOTING,CONFIRMED,FAILED,ROLLED_BACK,CANCELED,TIMED_OUT"`
	Ended          bool         `json:"ended"`
	Reason         string       `json:"reason,omitempty"`
	Detail         string       `json:"detail,omitempty"`
	Began          time.Time    `json:"began"`
	Changed        time.Time    `json:"changed" doc:"when the state was entered"`
	Heard          *time.Time   `json:"heard,omitempty" doc:"when the device last spoke of the update"`
	Deadline       *time.Time   `json:"deadline,omitempty" doc:"when it is TIMED_OUT unless something is heard"`
	TimedOutIn     string       `json:"timed_out_in,omitempty" doc:"the state in which nothing was heard in time"`
	Late           bool         `json:"late" doc:"the state was corrected by a word that came after the time was over"`
	Canceling      bool         `json:"canceling" doc:"the device was asked to drop the update and has not answered"`
	Steps          []UpdateStep `json:"steps"`
}

// UpdateStep is a change of state.
type UpdateStep struct {
	State  string    `json:"state"`
	Time   time.Time `json:"time" doc:"by the cloud's clock"`
	Reason string    `json:"reason,omitempty"`
}

// Firmware is what runs on a vehicle's devices, and its newest update.
type Firmware struct {
	Vehicle string            `json:"vid"`
	Devices []RunningFirmware `json:"devices"`
	Update  *Update           `json:"update,omitempty" doc:"the newest one; absent when there never was one"`
}

// RunningFirmware is what a device says that it runs.
type RunningFirmware struct {
	Device  string `json:"did"`
	Version string `json:"version"`
	Release uint64 `json:"release,omitempty"`
	Board   string `json:"board,omitempty"`
	Slot    string `json:"slot,omitempty"`
	Trial   bool   `json:"trial" doc:"not confirmed yet"`
	// Confirmed is said only when another slot runs.
	Confirmed string    `json:"confirmed,omitempty" doc:"the slot that should run, when another one does because the boot loader could not start it"`
	Told      time.Time `json:"told" doc:"when the cloud heard it"`
}

// refused turns an error of the updates into an answer.
func (s *Server) refused(what string, err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		return huma.NewError(r.Status, r.Detail)
	}
	return s.failed(what, err)
}

type startUpdateInput struct {
	VehiclePath
	Body UpdateRequest
}

type filePath struct {
	File string `path:"file" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the file"`
}

func (s *Server) updateRoutes(mux humago.Mux, api huma.API) {
	s.fileRoutes(mux, api)
	huma.Get(api, "/v1/updates/vehicles", func(_ context.Context, in *Page) (*pagedOutput[Update], error) {
		list := s.cfg.Updates.ListUpdates()
		slices.SortFunc(list, func(a, b Update) int { return strings.Compare(a.Vehicle, b.Vehicle) })
		return page(list, func(u Update) string { return u.Vehicle }, *in, "/v1/updates/vehicles", nil)
	}, about("list-updates", "The newest update of each vehicle that has one, by vehicle", http.StatusBadRequest))
	huma.Get(api, "/v1/vehicles/{vid}/update", func(_ context.Context, in *VehiclePath) (*output[Firmware], error) {
		f, ok := s.cfg.Updates.Firmware(in.VID)
		if !ok {
			return nil, unknownVehicle()
		}
		return &output[Firmware]{f}, nil
	}, about("get-update", "What runs on a vehicle's devices, and where its newest update stands", http.StatusNotFound))
	start := func(ctx context.Context, in *startUpdateInput) (*output[Update], error) {
		u, err := s.cfg.Updates.StartUpdate(ctx, in.VID, in.Body)
		if err != nil {
			return nil, s.refused("update not started", err)
		}
		return &output[Update]{u}, nil
	}
	huma.Put(api, "/v1/vehicles/{vid}/update", start, about("start-update", "Begin an update of one device of the vehicle",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable))
	huma.Post(api, "/v1/vehicles/{vid}/update/cancel", func(ctx context.Context, in *VehiclePath) (*output[Update], error) {
		u, err := s.cfg.Updates.CancelUpdate(ctx, in.VID)
		if err != nil {
			return nil, s.refused("update not canceled", err)
		}
		return &output[Update]{u}, nil
	}, about("cancel-update", "Ask the device to drop its update; it does while nothing is written to a slot",
		http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable))
}

// fileRoutes are those of update files. The upload is streamed, which huma does not do.
func (s *Server) fileRoutes(mux humago.Mux, api huma.API) {
	huma.Get(api, "/v1/updates", func(context.Context, *struct{}) (*output[[]UpdateFile], error) {
		return &output[[]UpdateFile]{s.cfg.Updates.Files()}, nil
	}, about("list-update-files", "Update files that are kept, newest first"))
	huma.Delete(api, "/v1/updates/{file}", func(_ context.Context, in *filePath) (*struct{}, error) {
		if err := s.cfg.Updates.DeleteFile(in.File); err != nil {
			return nil, s.refused("update file not deleted", err)
		}
		return nil, nil
	}, about("delete-update-file", "Forget an update file that no update under way needs",
		http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable))
	answer := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[UpdateFile](), true, "UpdateFile")
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "upload-update-file", Method: http.MethodPost, Path: "/v1/updates", Summary: "Keep a signed update file",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
		Responses: map[string]*huma.Response{
			"201":     {Description: "Kept, or kept before", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}},
			"default": {Description: "Refused: no update file, too large (413), damaged or of an unknown key (422), no space (507)"},
		},
	})
	mux.HandleFunc("POST /v1/updates", s.upload)
}

// Bounds of the sender of an update file: it holds one of a few places.
const (
	// uploadIdle is how long it may say nothing.
	uploadIdle = 30 * time.Second
	// uploadSpeed is the least that it sends on average after the first uploadIdle, in bytes a second.
	uploadSpeed = 128 << 10
)

// upload streams a file to the room that keeps it.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	body := &lively{from: r.Body, control: http.NewResponseController(w), began: time.Now()}
	f, err := s.cfg.Updates.Upload(r.Context(), body)
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		problem(w, refused.Status, refused.Detail)
	case err != nil && body.broken:
		problem(w, http.StatusBadRequest, fmt.Sprintf("the upload was cut off, or came slower than %d KiB a second", uploadSpeed>>10))
	case err != nil:
		s.cfg.Log.Error("update file not kept", "err", err)
		problem(w, http.StatusServiceUnavailable, "update file not kept; see the log")
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(f)
	}
}

// lively reads a body that must not stand still, nor creep.
type lively struct {
	from    io.Reader
	control *http.ResponseController
	began   time.Time
	bytes   int64 // read so far
	broken  bool
}

// deadline is until when more must have come.
func (l *lively) deadline(now time.Time) time.Time {
	creeping := l.began.Add(uploadIdle + time.Duration(l.bytes/uploadSpeed)*time.Second)
	if idle := now.Add(uploadIdle); idle.Before(creeping) {
		return idle
	}
	return creeping
}

// Read implements io.Reader.
func (l *lively) Read(p []byte) (int, error) {
	if err := l.control.SetReadDeadline(l.deadline(time.Now())); err != nil {
		return 0, err
	}
	n, err := l.from.Read(p)
	l.bytes += int64(n)
	l.broken = l.broken || err != nil && !errors.Is(err, io.EOF)
	return n, err
}
