package link

import "fmt"

// verdict is what a PUBACK reason code means for a record.
type verdict uint8

const (
	stored   verdict = iota // the server has it: the buffer may forget it
	later                   // not now: try again with back-off; others may proceed
	overload                // like later, and the whole link slows down
	aside                   // not in this connection: leave it in the buffer, go on with others
)

// PUBACK reason codes [MQTT-3.4.2.1] that the link treats specially.
const (
	codeUnspecified    = 0x80
	codeImplementation = 0x83
	codeNotAuthorized  = 0x87
	codeTopicInvalid   = 0x90
	codeQuota          = 0x97
	codePayloadFormat  = 0x99
)

func judge(code byte) verdict {
	switch {
	case code < 0x80:
		return stored
	case code == codeQuota:
		return overload
	case code == codeNotAuthorized, code == codeTopicInvalid, code == codePayloadFormat:
		return aside
	}
	return later
}

// codeText names a reason code of CONNACK, PUBACK or DISCONNECT [MQTT-2.4].
func codeText(code byte) string {
	switch code {
	case 0x00:
		return "normal"
	case codeUnspecified:
		return "unspecified error"
	case 0x81, 0x82:
		return "protocol error"
	case codeImplementation:
		return "implementation specific error"
	case 0x84:
		return "MQTT 5 not supported"
	case 0x85:
		return "client identifier not valid"
	case 0x86:
		return "bad user name or password"
	case codeNotAuthorized:
		return "not authorised"
	case 0x88:
		return "server unavailable"
	case 0x89:
		return "server busy"
	case 0x8a:
		return "banned"
	case 0x8b:
		return "server shutting down"
	case 0x8d:
		return "keep-alive timeout"
	case 0x8e:
		return "session taken over by another connection with this client identifier"
	case codeTopicInvalid:
		return "topic name invalid"
	case 0x93:
		return "receive maximum exceeded"
	case 0x95:
		return "packet too large"
	case 0x96:
		return "message rate too high"
	case codeQuota:
		return "quota exceeded"
	case 0x98:
		return "administrative action"
	case codePayloadFormat:
		return "payload format invalid"
	case 0x9a:
		return "retain not supported"
	case 0x9c, 0x9d:
		return "use another server"
	case 0x9f:
		return "connection rate exceeded"
	}
	return fmt.Sprintf("code 0x%02x", code)
}
