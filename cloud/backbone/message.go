package backbone

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Limits of one message.
const (
	// MaxData is the largest Data of a message and the largest value in a bucket, in bytes.
	MaxData = 1 << 20
	// MaxHeader bounds names and values of all headers of a message together, in bytes.
	MaxHeader = 16 << 10
	// MaxSubject is the longest subject, in bytes.
	MaxSubject = 512
)

// maxPayload is what the embedded server takes as one message, headers included.
const maxPayload = MaxData + 64<<10

// reservedHeader begins the headers that belong to NATS; a Reader hides them.
const reservedHeader = "Nats-"

// reservedName tells whether a header would change what NATS does: "Status" alone
// makes an empty message look like a word of the server's to its reader.
func reservedName(name string) bool {
	return len(name) >= len(reservedHeader) && strings.EqualFold(name[:len(reservedHeader)], reservedHeader) ||
		strings.EqualFold(name, "Status") || strings.EqualFold(name, "Description")
}

// Message is one message of a stream.
type Message struct {
	// Subject is dot-separated; its first part names the stream: "up", "low" or "dead".
	Subject string
	// Header holds short texts beside the data. Names are letters, digits and "-", but not "Status", "Description" or
	// "Nats-…" in any case; values hold no control characters and no space at either end. Nil means none.
	Header map[string]string
	// Data may be empty. It belongs to the backbone from Publish until done is called.
	Data []byte
	// Sequence is the position in the stream, from 1. Ignored by Publish.
	Sequence uint64
	// Stored is when the server stored the message, by its own clock. Ignored by Publish.
	Stored time.Time
}

// check says what keeps m from being published. The error wraps ErrInvalid or
// ErrTooLarge and repeats no text of m, which may be private.
func (m *Message) check() error {
	if len(m.Data) > MaxData {
		return fmt.Errorf("data has %d bytes, expected at most %d: %w", len(m.Data), MaxData, ErrTooLarge)
	}
	if err := checkSubject(m.Subject); err != nil {
		return err
	}
	size := 0
	for name, value := range m.Header {
		if err := checkHeader(name, value); err != nil {
			return err
		}
		size += len(name) + len(value)
	}
	if size > MaxHeader {
		return fmt.Errorf("headers have %d bytes, expected at most %d: %w", size, MaxHeader, ErrTooLarge)
	}
	return nil
}

// checkSubject wants parts of printable ASCII without wildcards, none empty.
func checkSubject(subject string) error {
	if len(subject) > MaxSubject {
		return fmt.Errorf("subject has %d bytes, expected at most %d: %w", len(subject), MaxSubject, ErrInvalid)
	}
	dot := true // an empty part would begin here
	for i := range len(subject) {
		c := subject[i]
		if c == '.' && dot {
			return fmt.Errorf("subject has an empty part at byte %d: %w", i, ErrInvalid)
		}
		if c <= ' ' || c >= 0x7f || c == '*' || c == '>' {
			return fmt.Errorf("subject has %q at byte %d, expected printable ASCII without wildcards: %w", c, i, ErrInvalid)
		}
		dot = c == '.'
	}
	if dot {
		return fmt.Errorf("subject is empty or ends with a dot: %w", ErrInvalid)
	}
	return nil
}

// checkHeader wants what comes back unchanged from NATS' header lines "name: value".
func checkHeader(name, value string) error {
	if name == "" || reservedName(name) {
		return fmt.Errorf("header name is empty or one of NATS' own: %w", ErrInvalid)
	}
	for i := range len(name) {
		c := name[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return fmt.Errorf("header name has %q at byte %d, expected letters, digits and -: %w", c, i, ErrInvalid)
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7f || c == ' ' && (i == 0 || i == len(value)-1) {
			return fmt.Errorf("header value has %q at byte %d, expected no control characters and no space at the ends: %w", c, i, ErrInvalid)
		}
	}
	return nil
}

// wire turns m into a NATS message and gives its size in memory and on the wire, about.
func (m *Message) wire() (*nats.Msg, int) {
	header := make(nats.Header, len(m.Header)+batchHeaders)
	size := len(m.Subject) + len(m.Data) + messageOverhead
	for name, value := range m.Header {
		header[name] = []string{value}
		size += len(name) + len(value)
	}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}, size
}

// messageOverhead is about what a stored message costs beside its own bytes: record, batch headers, index.
const messageOverhead = 128

// plainHeader gives the publisher's own headers of a stored message.
func plainHeader(h nats.Header) map[string]string {
	var plain map[string]string
	for name, values := range h {
		if strings.HasPrefix(name, reservedHeader) || len(values) == 0 {
			continue
		}
		if plain == nil {
			plain = make(map[string]string, len(h))
		}
		plain[name] = values[0]
	}
	return plain
}
