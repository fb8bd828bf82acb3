package update

import "time"

// UploadDeadline is until when a sender that began at began and has sent so many bytes must send more.
func UploadDeadline(began, now time.Time, bytes int64) time.Time {
	return (&lively{began: began, bytes: bytes}).deadline(now)
}
