package backbone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// A grouped stream keeps what one commit brings as one record, which is one message of JetStream's:
//
//	subject  {prefix}.group
//	header   Telltale-Sequences: 17-42     the sequences of the first and the last message
//	data     1, and for each message:      lengths and counts are unsigned varints
//	         subject  count of headers  (name  value)…  data        each with its length before it
//
// A message without the header is a record of its own, of a version before groups, whose sequence is JetStream's.
// A record is stored whole or not at all, and costs one write and one sync whatever is in it.
//
// Sequences of messages are given by the committer and rise by one. JetStream numbers the records. The number of a
// record times maxGroup is never below the sequence of its last message, so that a committer whose stream has no
// record left from which to read where it was goes on behind that.
const (
	sequencesHeader = "Telltale-Sequences"
	groupSubject    = ".group"
	groupVersion    = 1
	// maxGroup is the largest number of messages in a record. A smaller one would break the rule above for streams of before.
	maxGroup = 500
)

// errRecord: a record is not as it was written.
var errRecord = errors.New("record of a group of messages is damaged")

// span is the sequences of the messages of a record.
type span struct{ first, last uint64 }

func (s span) String() string {
	return strconv.FormatUint(s.first, 10) + "-" + strconv.FormatUint(s.last, 10)
}

// record is where a record is: its number at JetStream, and the sequences in it.
type record struct {
	number uint64
	span
}

// recordOf reads what the header of a record says.
func recordOf(number uint64, header nats.Header) (record, error) {
	list := header[sequencesHeader]
	if len(list) == 0 {
		return record{number, span{number, number}}, nil
	}
	from, to, _ := strings.Cut(list[0], "-")
	first, err1 := strconv.ParseUint(from, 10, 64)
	last, err2 := strconv.ParseUint(to, 10, 64)
	if err := errors.Join(err1, err2); err != nil || first < number || last < first || last-first >= maxGroup {
		return record{}, fmt.Errorf("%w: record %d: expected sequences first-last, of at most %d messages", errRecord, number, maxGroup)
	}
	return record{number, span{first, last}}, nil
}

// appendHead appends a message up to its data.
func appendHead(buf []byte, m *Message) []byte {
	buf = appendText(buf, m.Subject)
	buf = binary.AppendUvarint(buf, uint64(len(m.Header)))
	for name, value := range m.Header {
		buf = appendText(appendText(buf, name), value)
	}
	return binary.AppendUvarint(buf, uint64(len(m.Data)))
}

func appendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// headSize is at least what appendHead appends, in bytes.
func headSize(m *Message) int {
	const length = binary.MaxVarintLen32
	size := 3*length + len(m.Subject)
	for name, value := range m.Header {
		size += 2*length + len(name) + len(value)
	}
	return size
}

// readGroup gives the messages of a record from a sequence on. They have nothing of data in them.
func readGroup(r record, data []byte, from uint64) ([]Message, error) {
	g := groupReader{rest: data}
	if len(data) == 0 || data[0] != groupVersion {
		return nil, fmt.Errorf("%w: record %d: expected version %d", errRecord, r.number, groupVersion)
	}
	g.rest = data[1:]
	var messages []Message
	for sequence := r.first; sequence <= r.last; sequence++ {
		wanted := sequence >= from
		if wanted && messages == nil {
			messages = make([]Message, 0, r.last-sequence+1)
		}
		m := g.message(wanted)
		if m.Sequence = sequence; wanted {
			messages = append(messages, m)
		}
	}
	if g.failed || len(g.rest) > 0 {
		return nil, fmt.Errorf("%w: record %d: its length is not that of its messages", errRecord, r.number)
	}
	return messages, nil
}

// groupReader reads the messages of a record in turn. After the first fault it gives nothing.
type groupReader struct {
	rest   []byte
	failed bool
}

// message reads the next message, into memory of its own if it is wanted.
func (g *groupReader) message(wanted bool) (m Message) {
	start := g.rest
	g.field()
	headers := g.number()
	if headers > MaxHeader {
		g.fail()
	}
	for i := 0; i < 2*headers && !g.failed; i++ {
		g.field()
	}
	head := start[:len(start)-len(g.rest)]
	data := g.field()
	if !wanted || g.failed {
		return Message{}
	}
	m.Data = append([]byte{}, data...)                   // a record must not stay in memory for one message
	texts := textReader{text: string(head), bytes: head} // one copy, of which subject and headers are parts
	m.Subject = texts.next()
	if texts.number(); headers > 0 {
		m.Header = make(map[string]string, headers)
		for range headers {
			name := texts.next()
			m.Header[name] = texts.next()
		}
	}
	return m
}

func (g *groupReader) fail() { g.rest, g.failed = nil, true }

func (g *groupReader) number() int {
	n, size := binary.Uvarint(g.rest)
	if size <= 0 || n > maxPayload {
		g.fail()
		return 0
	}
	g.rest = g.rest[size:]
	return int(n)
}

func (g *groupReader) field() []byte {
	n := g.number()
	if n > len(g.rest) {
		g.fail()
		return nil
	}
	field := g.rest[:n]
	g.rest = g.rest[n:]
	return field
}

// textReader reads texts of bytes that a groupReader has checked, as parts of one string.
type textReader struct {
	text  string
	bytes []byte
}

func (t *textReader) number() int {
	n, size := binary.Uvarint(t.bytes)
	t.skip(size)
	return int(n)
}

func (t *textReader) next() string {
	n := t.number()
	text := t.text[:n]
	t.skip(n)
	return text
}

func (t *textReader) skip(n int) { t.text, t.bytes = t.text[n:], t.bytes[n:] }
