package ingest

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"telltale.dev/protocol"
)

// Names of the headers that a message carries in its stream.
const (
	HeaderTopic    = "Telltale-Topic"    // the MQTT topic
	HeaderDevice   = "Telltale-Device"   // the device of the client certificate
	HeaderContent  = "Telltale-Content"  // the MQTT content type; absent: none
	HeaderReceived = "Telltale-Received" // by the broker, µs since the Unix epoch
	HeaderProperty = "Telltale-Prop-"    // followed by the key of an MQTT user property

	HeaderReason   = "Telltale-Dead-Reason"   // of a dead letter: reasons.Reason
	HeaderDetail   = "Telltale-Dead-Detail"   // of a dead letter: one line for a person
	HeaderSubject  = "Telltale-Dead-Subject"  // of a dead letter: where it was read, and goes when replayed
	HeaderMessage  = "Telltale-Dead-Message"  // of a dead letter: did.boot.seq, as far as it can be read
	HeaderConsumer = "Telltale-Dead-Consumer" // of a dead letter that one consumer did not take, and of its replay: its name
	HeaderOrigin   = "Telltale-Dead-Origin"   // of a dead letter and of its replay: STREAM/sequence of the first copy
)

// Bounds of what a client's words may take in the headers.
const (
	maxProperties    = 16
	maxPropertyKey   = 32
	maxPropertyValue = 256
	maxContentType   = 128
	maxDetail        = 200
)

// header builds the headers of a message for the stream, and says how many
// properties it left out because of the bounds.
func header(u *Upload) (h map[string]string, left int) {
	h = make(map[string]string, 4+len(u.Properties))
	h[HeaderTopic] = u.Topic.String()
	h[HeaderDevice] = string(u.Device)
	h[HeaderReceived] = strconv.FormatInt(u.Received.UnixMicro(), 10)
	if u.ContentType != "" && len(u.ContentType) <= maxContentType {
		h[HeaderContent] = escape(u.ContentType)
	}
	kept := 0
	for key, value := range u.Properties {
		name := propertyHeader(key)
		if name == "" || kept == maxProperties || len(value) > maxPropertyValue {
			left++
			continue
		}
		kept++
		h[name] = escape(value)
	}
	return h, left
}

// propertyHeader is the header of a user property, "" for a key that is not
// 1 to 32 of [a-z0-9-]. The keys of protocol cost no allocation.
func propertyHeader(key string) string {
	switch key {
	case protocol.PropPriority:
		return HeaderProperty + protocol.PropPriority
	case protocol.PropMessageID:
		return HeaderProperty + protocol.PropMessageID
	case protocol.PropPurpose:
		return HeaderProperty + protocol.PropPurpose
	case protocol.PropConsent:
		return HeaderProperty + protocol.PropConsent
	case protocol.PropSchema:
		return HeaderProperty + protocol.PropSchema
	case protocol.PropTrace:
		return HeaderProperty + protocol.PropTrace
	case protocol.PropTimeQuality:
		return HeaderProperty + protocol.PropTimeQuality
	}
	if key == "" || len(key) > maxPropertyKey {
		return ""
	}
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return ""
		}
	}
	return HeaderProperty + key
}

// escape keeps a client's words from ending a header line or being trimmed:
// bytes outside printable ASCII, blanks and % are written %XX.
func escape(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return escapeAll(s)
		}
	}
	return s
}

func escapeAll(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unescape reads what escape writes; anything else is given back as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}

// properties collects the MQTT user properties from a message's headers.
func properties(h map[string]string) map[string]string {
	out := make(map[string]string)
	for name, value := range h {
		if key, ok := strings.CutPrefix(name, HeaderProperty); ok {
			out[key] = unescape(value)
		}
	}
	return out
}

// purpose is the purpose under which the content was collected; empty: none was given.
func purpose(m *Message) string {
	return strings.ToValidUTF8(unescape(m.Header[HeaderProperty+protocol.PropPurpose]), "\uFFFD")
}

// received is when the broker took the message, or when it was stored if the header does not say.
func received(m *Message) time.Time {
	if us, err := strconv.ParseInt(m.Header[HeaderReceived], 10, 64); err == nil {
		return time.UnixMicro(us).UTC()
	}
	return m.Stored.UTC()
}
