//go:build linux

package machine

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// buildTime is written by the image's builder: no clock of this firmware is before it.
const buildTime = "/etc/telltale/built"

// SetClock moves a clock that cannot be right, as on a board without a battery, to
// the latest time known to have passed: that of the build, or of the last change of mark,
// a file that MarkTime touches. It says what it did.
func SetClock(say Say, mark string) {
	known, now := latest(buildTime, mark), time.Now()
	if !now.Before(known) {
		return
	}
	say("clock: %s is before %s, the last time known", now.UTC().Format(time.DateTime), known.UTC().Format(time.DateTime))
	at := unix.NsecToTimeval(known.UnixNano())
	if err := unix.Settimeofday(&at); err != nil {
		say("clock: %v", err)
	}
}

// latest is the later one of the time in the file built and the date of the file mark; zero when there is neither.
func latest(built, mark string) (known time.Time) {
	if text, err := os.ReadFile(built); err == nil {
		if t, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text))); err == nil {
			known = t
		}
	}
	if info, err := os.Stat(mark); err == nil && info.ModTime().After(known) {
		known = info.ModTime()
	}
	return known
}

// MarkTime stores the time for the next start.
func MarkTime(mark string) {
	if err := os.WriteFile(mark, nil, 0o644); err == nil {
		now := time.Now()
		_ = os.Chtimes(mark, now, now)
	}
}
