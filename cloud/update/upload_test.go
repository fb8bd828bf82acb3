package update_test

import (
	"testing"
	"time"

	"telltale.dev/cloud/update"
)

// TestCreepingUpload: who sends a byte now and then does not hold its place, who sends at a fair speed does.
func TestCreepingUpload(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	for name, test := range map[string]struct {
		after time.Duration
		bytes int64
		want  time.Duration // after began
	}{
		"at the start":     {0, 0, 30 * time.Second},
		"nothing for 29s":  {29 * time.Second, 0, 30 * time.Second},
		"a byte now":       {29 * time.Second, 1, 30 * time.Second},
		"an hour creeping": {time.Hour, 3600 << 10, 58 * time.Second},
		"a fair speed":     {time.Minute, 60 << 20, time.Minute + 30*time.Second},
		"a huge file":      {time.Hour, 1 << 40, time.Hour + 30*time.Second},
	} {
		if got := update.UploadDeadline(began, began.Add(test.after), test.bytes).Sub(began); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
