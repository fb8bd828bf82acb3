// Package reasons holds the machine-readable causes that both ends give, one word for each.
package reasons

// Reason is a machine-readable cause, the same word at both ends. Empty means none.
type Reason string

// Reasons for refusing, setting aside or dead-lettering a message or document.
const (
	ValidationFailed  Reason = "VALIDATION_FAILED"
	NotSupported      Reason = "NOT_SUPPORTED"
	NotAuthorized     Reason = "NOT_AUTHORIZED"
	VehicleNotActive  Reason = "VEHICLE_NOT_ACTIVE"
	RateLimited       Reason = "RATE_LIMITED"
	Internal          Reason = "INTERNAL_ERROR"
	UnknownSchema     Reason = "UNKNOWN_SCHEMA"
	Undecodable       Reason = "UNDECODABLE"
	TooLarge          Reason = "TOO_LARGE"
	UnknownSignal     Reason = "UNKNOWN_SIGNAL"
	Time              Reason = "TIME_OUT_OF_BOUNDS" // set aside: its times lie in the future, or further in the past than it was kept for
	Unsynced          Reason = "TIME_UNSYNCED"      // set aside: by the vehicle's word its clock was not set
	Consumer          Reason = "CONSUMER_FAILED"    // set aside: a room of the cloud did not take it for too long
	StaleRevision     Reason = "STALE_REVISION"
	VehicleDisconnect Reason = "VEHICLE_DISCONNECTED"
)

// Reasons for the end of an update.
const (
	NotUpdate         Reason = "NOT_AN_UPDATE_FILE"
	WrongKey          Reason = "WRONG_KEY"
	Signature         Reason = "SIGNATURE_INVALID"
	WrongBoard        Reason = "WRONG_BOARD"
	Older             Reason = "OLDER_RELEASE"
	Truncated         Reason = "TRUNCATED"
	Corrupt           Reason = "CORRUPT"
	NoSpace           Reason = "NO_SPACE"
	DownloadRefused   Reason = "DOWNLOAD_REFUSED" // the cloud does not give the file to this device
	SlotFailed        Reason = "SLOT_FAILED"      // the slot could not be written
	OnTrial           Reason = "ON_TRIAL"         // the firmware that runs has not been confirmed itself
	RestartRefused    Reason = "RESTART_REFUSED"  // the machine was not restarted when asked to
	BootFailed        Reason = "BOOT_FAILED"      // the boot loader gave the new firmware up
	Unhealthy         Reason = "UNHEALTHY"        // the new firmware was not healthy in time
	NotConnected      Reason = "NOT_CONNECTED"    // it was healthy, and did not reach the cloud in time
	RollbackFailed    Reason = "ROLLBACK_FAILED"  // it is unhealthy, and there is nothing to go back to
	Superseded        Reason = "SUPERSEDED"       // by a newer update
	CanceledByRequest Reason = "CANCELED_BY_REQUEST"
)
