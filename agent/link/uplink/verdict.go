package uplink

import "telltale.dev/agent/link/session"

// verdict is what a PUBACK reason code means for a record.
type verdict uint8

const (
	stored   verdict = iota // the server has it: the buffer may forget it
	later                   // not now: try again with back-off; others may proceed
	overload                // like later, and the whole link slows down
	aside                   // not in this connection: leave it in the buffer, go on with others
)

func judge(code byte) verdict {
	switch {
	case code < session.CodeUnspecified:
		return stored
	case code == session.CodeQuota:
		return overload
	case code == session.CodeNotAuthorized, code == session.CodeTopicInvalid, code == session.CodePayloadFormat:
		return aside
	}
	return later
}
