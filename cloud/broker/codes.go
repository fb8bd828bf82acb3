package broker

// Reason codes of MQTT 5 that this package uses (section 2.4 of the standard).
const (
	codeSuccess                 = 0x00
	codeNoSubscription          = 0x11
	codeUnspecified             = 0x80
	codeMalformed               = 0x81
	codeProtocolError           = 0x82
	codeVersion                 = 0x84
	codeClientID                = 0x85
	codeNotAuthorized           = 0x87
	codeUnavailable             = 0x88
	codeBusy                    = 0x89
	codeShuttingDown            = 0x8B
	codeAuthMethod              = 0x8C
	codeKeepAlive               = 0x8D
	codeTakenOver               = 0x8E
	codeFilterInvalid           = 0x8F
	codeTopicInvalid            = 0x90
	codeAliasInvalid            = 0x94
	codeTooLarge                = 0x95
	codeQuota                   = 0x97
	codePayloadFormat           = 0x99
	codeRetainNotSupported      = 0x9A
	codeQoSNotSupported         = 0x9B
	codeSharedNotSupported      = 0x9E
	refusedFrom            byte = 0x80 // codes from here on are refusals
)
