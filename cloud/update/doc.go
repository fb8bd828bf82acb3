// Package update keeps update files and brings each to the vehicles it is meant
// for, one device of one vehicle at a time.
//
//	Upload ──> header and payload checked ──> file, on disk, by its SHA-256
//	Start ───> execution, on disk ──> document of the vehicle    v1/{vid}/down/config/update
//	Report (the vehicle's word) ──> state, on disk               v1/{vid}/up/update/{did}/feedback
//	Run ─────> nothing heard in time: TIMED_OUT, and the document asks the device to drop it
//	Server ──> the file, over mTLS, to the device that it is meant for and to nobody else
//
// Where an update stands is what the vehicle said, never what was hoped. A word
// that comes after the time was over corrects the state (late). What runs on each
// device is kept beside it, from the device's own account after each start.
//
// It does not sign: an update file comes signed from who builds firmware, and each
// device checks that itself.
package update
