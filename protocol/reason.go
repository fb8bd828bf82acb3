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
	ReasonStaleRevision     Reason = "STALE_REVISION"
	ReasonVehicleDisconnect Reason = "VEHICLE_DISCONNECTED"
)
