package update

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/signed"
)

// Errors that callers branch on.
var (
	// ErrUnknownVehicle: the vehicle, or the device of it, is not registered.
	ErrUnknownVehicle = errors.New("no such vehicle or device")
	// ErrWhichDevice: the vehicle has several devices, and the request names none.
	ErrWhichDevice = errors.New("the vehicle has several devices: expected one to be named")
	// ErrUnknownFile: no update file with this SHA-256 is kept.
	ErrUnknownFile = errors.New("no such update file")
	// ErrUnderWay: the vehicle has an update that has not ended.
	ErrUnderWay = errors.New("an update of this vehicle is under way")
	// ErrNone: the vehicle has no update, or none that could be canceled.
	ErrNone = errors.New("no update is under way")
	// ErrRequest: a request is not as it should be.
	ErrRequest = errors.New("malformed request")
)

// Message is something for the broker to deliver, and to keep for who comes later.
type Message = backbone.Outgoing

// Config of an Updates. All fields without a zero value of their own must be set.
type Config struct {
	Dir   string // of the files
	Store backbone.Store
	// Devices of a vehicle; false when it is not registered.
	Devices func(protocol.VehicleID) ([]protocol.DeviceID, bool)
	Deliver func(Message) // must not block
	Now     func() time.Time
	// Keys are whose files are taken; none: anybody's, since each device checks for itself.
	Keys    signed.Keys
	MaxFile int64 // bytes; zero means updates.MaxFile
	// Free gives the free bytes of the disk with Dir; nil asks the disk.
	Free func(dir string) (int64, error)
	Log  *slog.Logger
}

// stripes is how many vehicles may be changed at once.
const stripes = 64

// Updates may be used from any goroutine.
type Updates struct {
	cfg     Config
	started time.Time
	seed    maphash.Seed
	wake    chan struct{} // a time-out may have become earlier
	uploads chan struct{} // a place for each under way
	coming  room          // for what the uploads under way have announced

	changing [stripes]sync.Mutex // orders the changes of one vehicle; mu is taken and released under it
	mu       sync.RWMutex        // guards what follows; never held while the store or disk works
	records  map[protocol.VehicleID]record
	files    map[updates.FileHash]File
	stats    counters
}

// counters are read by Stats.
type counters struct {
	uploads, refusedUploads, feedback, stale, timeouts, downloads, refusedDownloads, bytes atomic.Uint64
}

// Open loads the files and executions. Run must be called for their time-outs.
func Open(ctx context.Context, cfg Config) (*Updates, error) {
	if cfg.Free == nil {
		cfg.Free = freeBytes
	}
	if cfg.MaxFile <= 0 {
		cfg.MaxFile = updates.MaxFile
	}
	u := &Updates{
		cfg: cfg, started: cfg.Now(), seed: maphash.MakeSeed(), wake: make(chan struct{}, 1), uploads: make(chan struct{}, maxUploads),
		records: map[protocol.VehicleID]record{},
	}
	var err error
	if u.files, err = loadFiles(cfg.Dir, cfg.Log); err != nil {
		return nil, fmt.Errorf("update files: %w", err)
	}
	entries, err := cfg.Store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("updates: %w", err)
	}
	for key, data := range entries {
		var r record
		if err := document.Unmarshal(data, &r); err != nil || r.Version != recordVersion {
			cfg.Log.Error("a stored update is unreadable and left out", "err", err)
			continue
		}
		u.records[protocol.VehicleID(key)] = r
	}
	return u, nil
}

// Request asks for an update.
type Request struct {
	Vehicle        protocol.VehicleID
	Device         protocol.DeviceID // empty: the vehicle's only one
	File           updates.FileHash
	AllowDowngrade bool
	Health         time.Duration // how long the new firmware has to prove itself; zero: the device decides
	// Deadlines replace those of updates.Deadlines, state by state.
	Deadlines map[updates.State]time.Duration
}

// deadlines are those of the request, and the defaults for the others.
func (r *Request) deadlines() (map[updates.State]uint32, error) {
	all := map[updates.State]uint32{}
	for s, d := range updates.Deadlines() {
		all[s] = uint32(d / time.Second)
	}
	for s, d := range r.Deadlines {
		if _, ok := all[s]; !ok {
			return nil, fmt.Errorf("deadline of %.32q: expected one of the states that can time out: %w", string(s), ErrRequest)
		}
		if d < time.Second || d > maxDeadline {
			return nil, fmt.Errorf("deadline of %s: expected 1 s to %v: %w", s, maxDeadline, ErrRequest)
		}
		all[s] = uint32(d / time.Second)
	}
	if r.Health < 0 || r.Health > maxDeadline {
		return nil, fmt.Errorf("health: expected 0 s to %v: %w", maxDeadline, ErrRequest)
	}
	return all, nil
}

const maxDeadline = 90 * 24 * time.Hour

// Start begins an update: on disk before the vehicle is told.
func (u *Updates) Start(ctx context.Context, r Request) (Execution, error) {
	deadlines, err := r.deadlines()
	if err != nil {
		return Execution{}, err
	}
	devices, ok := u.cfg.Devices(r.Vehicle)
	switch {
	case !ok || r.Device != "" && !slices.Contains(devices, r.Device) || len(devices) == 0:
		return Execution{}, ErrUnknownVehicle
	case r.Device == "" && len(devices) > 1:
		return Execution{}, ErrWhichDevice
	case r.Device == "":
		r.Device = devices[0]
	}
	file, ok := u.File(r.File)
	if !ok {
		return Execution{}, ErrUnknownFile
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return Execution{}, err
	}
	return u.change(ctx, r.Vehicle, func(rec *record) error {
		before := rec.Execution
		if before != nil && !before.State.Ended() {
			return ErrUnderWay
		}
		now := u.cfg.Now()
		e := &Execution{
			ID: updates.ID(hex.EncodeToString(id)), Vehicle: r.Vehicle, Device: r.Device, Revision: u.revision(before), File: file,
			AllowDowngrade: r.AllowDowngrade, Health: uint32(r.Health / time.Second), Deadlines: deadlines, Began: now.UnixMilli(),
		}
		e.enter(updates.Pending, "", now)
		rec.Execution = e
		return nil
	})
}

// revision of the next document. Seconds instead of a count: a cloud whose data was
// lost or restored is ahead of what its vehicles have seen all the same.
func (u *Updates) revision(before *Execution) uint64 {
	now := uint64(u.cfg.Now().Unix())
	if before == nil {
		return now
	}
	return max(before.Revision+1, now)
}

// Cancel asks the device to drop its update. One that the device has not answered yet
// ends at once, as far as the cloud knows; else the device says whether it was in time.
func (u *Updates) Cancel(ctx context.Context, vid protocol.VehicleID) (Execution, error) {
	if _, ok := u.cfg.Devices(vid); !ok {
		return Execution{}, ErrUnknownVehicle
	}
	return u.change(ctx, vid, func(rec *record) error {
		e := rec.Execution
		if e == nil || e.State.Ended() {
			return ErrNone
		}
		e.Revision, e.Canceling = u.revision(e), true
		if e.State == updates.Pending {
			e.enter(updates.Canceled, reasons.CanceledByRequest, u.cfg.Now())
			e.Assumed = true
		}
		return nil
	})
}

// Report takes a word of a device; it is on disk when Report returns nil.
func (u *Updates) Report(ctx context.Context, vid protocol.VehicleID, f updates.Feedback) error {
	u.stats.feedback.Add(1)
	_, err := u.change(ctx, vid, func(rec *record) error {
		now := u.cfg.Now()
		if _, known := rec.Devices[f.Device]; known || len(rec.Devices) < maxDevices {
			rec.Devices[f.Device] = Device{Running: f.Running, At: now.UnixMilli()}
		}
		if f.Update == "" {
			return nil
		}
		if rec.Execution == nil || !rec.Execution.hear(&f, now) {
			u.stats.stale.Add(1)
		}
		return nil
	})
	return err
}

// maxDevices bounds the devices kept of a vehicle.
const maxDevices = 64

// change applies edit to a copy of a vehicle's record and keeps it, on disk before in
// memory; then the vehicle is told what is new to it.
func (u *Updates) change(ctx context.Context, vid protocol.VehicleID, edit func(*record) error) (Execution, error) {
	lock := &u.changing[maphash.String(u.seed, string(vid))%stripes]
	lock.Lock()
	defer lock.Unlock()
	before := u.record(vid)
	after := before.clone()
	if err := edit(&after); err != nil {
		return Execution{}, err
	}
	data, err := document.Marshal(after)
	if err == nil {
		err = u.cfg.Store.Put(ctx, string(vid), data)
	}
	if err != nil {
		return Execution{}, fmt.Errorf("updates: %w", err)
	}
	u.mu.Lock()
	u.records[vid] = after
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
	if after.Execution == nil {
		return Execution{}, nil
	}
	if before.Execution == nil || before.Execution.Revision != after.Execution.Revision {
		if m, ok := u.Document(vid); ok {
			u.cfg.Deliver(m)
		}
	}
	return *after.Execution, nil
}

// Forget drops what is known of a vehicle that was deleted, on disk when it returns.
func (u *Updates) Forget(ctx context.Context, vid protocol.VehicleID) error {
	lock := &u.changing[maphash.String(u.seed, string(vid))%stripes]
	lock.Lock()
	defer lock.Unlock()
	if !u.knows(vid) {
		return nil
	}
	if err := u.cfg.Store.Delete(ctx, string(vid)); err != nil {
		return fmt.Errorf("updates: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.records, vid)
	return nil
}

// knows says whether anything is kept of a vehicle.
func (u *Updates) knows(vid protocol.VehicleID) bool {
	u.mu.RLock()
	defer u.mu.RUnlock()
	_, ok := u.records[vid]
	return ok
}

func (u *Updates) record(vid protocol.VehicleID) record {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.records[vid]
}

// Document gives the document of a vehicle, false when there is nothing to say.
func (u *Updates) Document(vid protocol.VehicleID) (Message, bool) {
	doc, ok := u.record(vid).Execution.document()
	if !ok {
		return Message{}, false
	}
	data, err := document.Marshal(doc)
	if err != nil {
		u.cfg.Log.Error("update document cannot be written", "err", err)
		return Message{}, false
	}
	return Message{
		Topic:       topics.Topic{Kind: topics.Config, Vehicle: vid, Name: updates.Document},
		ContentType: protocol.ContentUpdate, Payload: data, Kept: true,
	}, true
}

// Status gives the newest update of a vehicle, nil when there never was one, and what runs on its devices.
func (u *Updates) Status(vid protocol.VehicleID) (*Execution, map[protocol.DeviceID]Device) {
	r := u.record(vid).clone()
	return r.Execution, r.Devices
}

// Executions lists the newest update of each vehicle that has one, by vehicle.
func (u *Updates) Executions() []Execution {
	u.mu.RLock()
	list := make([]Execution, 0, len(u.records))
	for _, r := range u.records {
		if r.Execution != nil {
			list = append(list, *r.Execution)
		}
	}
	u.mu.RUnlock()
	slices.SortFunc(list, func(a, b Execution) int { return strings.Compare(string(a.Vehicle), string(b.Vehicle)) })
	return list
}

// Stats are totals since the start, and how many updates are under way.
type Stats struct {
	Uploads, RefusedUploads     uint64
	Feedback, Stale             uint64 // stale: old, or about an update that is not the newest
	Timeouts                    uint64
	Downloads, RefusedDownloads uint64
	Bytes                       uint64 // downloaded
	Active                      int
	Files                       int
}

// Stats gives the counters.
func (u *Updates) Stats() Stats {
	c := &u.stats
	s := Stats{
		Uploads: c.uploads.Load(), RefusedUploads: c.refusedUploads.Load(), Feedback: c.feedback.Load(), Stale: c.stale.Load(),
		Timeouts: c.timeouts.Load(), Downloads: c.downloads.Load(), RefusedDownloads: c.refusedDownloads.Load(), Bytes: c.bytes.Load(),
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	s.Files = len(u.files)
	for _, r := range u.records {
		if r.Execution != nil && !r.Execution.State.Ended() {
			s.Active++
		}
	}
	return s
}
