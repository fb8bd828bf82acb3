package update

import (
	"context"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

// Takes is an ability of rooms: the words of devices on their firmware.
func (u *Updates) Takes() []backbone.Intake {
	return []backbone.Intake{backbone.Takes(topics.UpdateFeedback, "", func(ctx context.Context, from backbone.Origin, f updates.Feedback) error {
		return u.Report(ctx, from.Vehicle, f)
	})}
}

// Retained is an ability of rooms: the document of a vehicle.
func (u *Updates) Retained(vid protocol.VehicleID) []Message {
	if doc, ok := u.Document(vid); ok {
		return []Message{doc}
	}
	return nil
}

// Figures is an ability of rooms.
func (u *Updates) Figures() []backbone.Figure {
	stat := func(pick func(Stats) uint64) func() float64 {
		return func() float64 { return float64(pick(u.Stats())) }
	}
	return []backbone.Figure{
		{Name: "uploads", Help: "Update files taken.", Value: stat(func(s Stats) uint64 { return s.Uploads })},
		{Name: "uploads_refused", Help: "Update files refused.", Value: stat(func(s Stats) uint64 { return s.RefusedUploads })},
		{Name: "feedback", Help: "Words of devices on their firmware.", Value: stat(func(s Stats) uint64 { return s.Feedback })},
		{Name: "feedback_stale", Help: "Words that were old, or about an update that is not the newest.", Value: stat(func(s Stats) uint64 { return s.Stale })},
		{Name: "timeouts", Help: "Updates of which nothing was heard in time.", Value: stat(func(s Stats) uint64 { return s.Timeouts })},
		{Name: "downloads", Help: "Downloads begun or resumed by devices.", Value: stat(func(s Stats) uint64 { return s.Downloads })},
		{Name: "downloads_refused", Help: "Downloads refused.", Value: stat(func(s Stats) uint64 { return s.RefusedDownloads })},
		{Name: "download_bytes", Help: "Bytes of update files sent.", Value: stat(func(s Stats) uint64 { return s.Bytes })},
		{Name: "active", Help: "Updates under way.", Gauge: true, Value: stat(func(s Stats) uint64 { return uint64(s.Active) })},
		{Name: "files", Help: "Update files kept.", Gauge: true, Value: stat(func(s Stats) uint64 { return uint64(s.Files) })},
	}
}
