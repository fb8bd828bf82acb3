package session

import "fmt"

// Reason codes that both directions treat specially [MQTT-3.4.2.1]. From CodeUnspecified on they are refusals.
const (
	CodeUnspecified    byte = 0x80
	CodeImplementation byte = 0x83
	CodeNotAuthorized  byte = 0x87
	CodeTopicInvalid   byte = 0x90
	CodeQuota          byte = 0x97
	CodePayloadFormat  byte = 0x99
)

// CodeText names a reason code of CONNACK, PUBACK or DISCONNECT [MQTT-2.4].
func CodeText(code byte) string {
	switch code {
	case 0x00:
		return "normal"
	case CodeUnspecified:
		return "unspecified error"
	case 0x81, 0x82:
		return "protocol error"
	case CodeImplementation:
		return "implementation specific error"
	case 0x84:
		return "MQTT 5 not supported"
	case 0x85:
		return "client identifier not valid"
	case 0x86:
		return "bad user name or password"
	case CodeNotAuthorized:
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
	case CodeTopicInvalid:
		return "topic name invalid"
	case 0x93:
		return "receive maximum exceeded"
	case 0x95:
		return "packet too large"
	case 0x96:
		return "message rate too high"
	case CodeQuota:
		return "quota exceeded"
	case 0x98:
		return "administrative action"
	case CodePayloadFormat:
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
