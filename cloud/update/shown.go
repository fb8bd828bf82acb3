package update

import "time"

// What the API shows.

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

func shownFile(f *File) UpdateFile {
	return UpdateFile{
		File: f.Hash.String(), Size: f.Size, Board: f.Board, Version: f.Version, Release: f.Release, Key: f.Key, Uploaded: time.UnixMilli(f.Uploaded).UTC(),
	}
}

func shown(e *Execution) Update {
	out := Update{
		ID: string(e.ID), Vehicle: string(e.Vehicle), Device: string(e.Device), File: e.File.Hash.String(),
		Version: e.File.Version, Release: e.File.Release, Size: e.File.Size, Bytes: e.Bytes, AllowDowngrade: e.AllowDowngrade,
		State: string(e.State), Ended: e.State.Ended(), Reason: string(e.Reason), Detail: e.Detail,
		Began: time.UnixMilli(e.Began).UTC(), Changed: time.UnixMilli(e.Changed).UTC(), Heard: moment(e.Heard), Deadline: moment(e.Deadline),
		TimedOutIn: string(e.TimedOutIn), Late: e.Late, Canceling: e.Canceling, Steps: []UpdateStep{},
	}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, UpdateStep{State: string(s.State), Time: time.UnixMilli(s.At).UTC(), Reason: string(s.Reason)})
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
