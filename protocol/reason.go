package protocol

// Reason is a machine-readable cause, the same word at both ends. Empty means none.
type Reason string

// Reasons for refusing, setting aside or dead-lettering a message or document.
const (
	ReasonValidationFailed  Reason = "VALIDATION_FAILED"
	ReasonNotSupported      Reason = "NOT_SUPPORTED"
	ReasonNotAuthorized     Reason = "NOT_AUTHORIZED"
	ReasonVehicleNotActive  Reason = "VEHICLE_NOT_ACTIVE"
	ReasonRateLimited       Reason = "RATE_LIMITED"
	ReasonInternal          Reason = "INTERNAL_ERROR"
	ReasonUnknownSchema     Reason = "UNKNOWN_SCHEMA"
	ReasonUndecodable       Reason = "UNDECODABLE"
	ReasonTooLarge          Reason = "TOO_LARGE"
	ReasonUnknownSignal     Reason = "UNKNOWN_SIGNAL"
	ReasonTime              Reason = "TIME_OUT_OF_BOUNDS" // set aside: its times lie in the future, or further in the past than it was kept for
	ReasonUnsynced          Reason = "TIME_UNSYNCED"      // set aside: by the vehicle's word its clock was not set
	ReasonStaleRevision     Reason = "STALE_REVISION"
	ReasonVehicleDisconnect Reason = "VEHICLE_DISCONNECTED"
)

// Reasons for the end of an update.
const (
	ReasonNotUpdate         Reason = "NOT_AN_UPDATE_FILE"
	ReasonWrongKey          Reason = "WRONG_KEY"
	ReasonSignature         Reason = "SIGNATURE_INVALID"
	ReasonWrongBoard        Reason = "WRONG_BOARD"
	ReasonOlder             Reason = "OLDER_RELEASE"
	ReasonTruncated         Reason = "TRUNCATED"
	ReasonCorrupt           Reason = "CORRUPT"
	ReasonNoSpace           Reason = "NO_SPACE"
	ReasonDownloadRefused   Reason = "DOWNLOAD_REFUSED" // the cloud does not give the file to this device
	ReasonSlotFailed        Reason = "SLOT_FAILED"      // the slot could not be written
	ReasonOnTrial           Reason = "ON_TRIAL"         // the firmware that runs has not been confirmed itself
	ReasonRestartRefused    Reason = "RESTART_REFUSED"  // the machine was not restarted when asked to
	ReasonBootFailed        Reason = "BOOT_FAILED"      // the boot loader gave the new firmware up
	ReasonUnhealthy         Reason = "UNHEALTHY"        // the new firmware was not healthy in time
	ReasonNotConnected      Reason = "NOT_CONNECTED"    // it was healthy, and did not reach the cloud in time
	ReasonRollbackFailed    Reason = "ROLLBACK_FAILED"  // it is unhealthy, and there is nothing to go back to
	ReasonSuperseded        Reason = "SUPERSEDED"       // by a newer update
	ReasonCanceledByRequest Reason = "CANCELED_BY_REQUEST"
)
