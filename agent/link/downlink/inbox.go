package downlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// inbox is a folder with one file for each message that waits. Its name is the message's number, by
// which messages are in the order of arrival:
//
//	"TTDOWN1\n"  CRC-32C of all behind it (4)  length n (4)  CBOR map of n bytes  payload
//
// Owned by the writer, but for remove.
type inbox struct {
	dir   string
	write func(path string, data []byte) error
	last  uint64 // number of the newest message
}

const (
	magic     = "TTDOWN1\n"
	suffix    = ".message"
	headBytes = len(magic) + 8
	// maxFile bounds what is read from disk, in bytes: a message and its properties come in one packet.
	maxFile = 2 * protocol.MaxPacket
)

var (
	errDamaged = errors.New("message in the inbox is damaged")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// stored is what the file says beside the payload.
type stored struct {
	Topic       string     `cbor:"topic"`
	ContentType string     `cbor:"type,omitempty"`
	Correlation []byte     `cbor:"corr,omitempty"`
	Response    string     `cbor:"response,omitempty"`
	User        []Property `cbor:"user,omitempty"`
	Retained    bool       `cbor:"retained,omitempty"`
	Received    int64      `cbor:"at"`               // µs since the Unix epoch
	Expiry      *int64     `cbor:"expiry,omitempty"` // µs
}

// add writes a message and gives its number. It is on disk when add returns.
func (b *inbox) add(m *Message) (number uint64, err error) {
	s := stored{
		Topic: m.Topic.String(), ContentType: valid(m.ContentType), Correlation: m.Correlation, Response: valid(m.Response),
		Retained: m.Retained, Received: m.Received.UnixMicro(),
	}
	for _, p := range m.User {
		s.User = append(s.User, Property{Key: valid(p.Key), Value: valid(p.Value)})
	}
	if m.Expires {
		expiry := m.Expiry.Microseconds()
		s.Expiry = &expiry
	}
	head, err := document.Marshal(s)
	if err != nil {
		return 0, err
	}
	data := make([]byte, headBytes, headBytes+len(head)+len(m.Payload))
	copy(data, magic)
	binary.BigEndian.PutUint32(data[len(magic)+4:], uint32(len(head)))
	data = append(append(data, head...), m.Payload...)
	binary.BigEndian.PutUint32(data[len(magic):], crc32.Checksum(data[len(magic)+4:], castagnoli))
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return 0, durable.Plain(err)
	}
	if err := b.write(b.path(b.last+1), data); err != nil {
		b.remove(b.last + 1) // it may be there under its name, though not for good: nobody shall take what was refused
		return 0, err
	}
	b.last++
	return b.last, nil
}

// valid is text as CBOR can hold it. A server that keeps to the standard sends no other [MQTT-1.5.4-1].
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// remove forgets a message; 0 is none. When a power cut brings the file back the message is taken once more.
func (b *inbox) remove(number uint64) {
	if number != 0 {
		_ = os.Remove(b.path(number))
	}
}

func (b *inbox) path(number uint64) string {
	return filepath.Join(b.dir, fmt.Sprintf("%020d%s", number, suffix))
}

// load gives the messages that wait, in the order of arrival. Damaged ones are removed and counted; those that cannot
// be read are left where they are, counted too, and their numbers are not given again. The error says that the folder
// itself cannot be read.
func (b *inbox) load() (waiting []entry, damaged int, err error) {
	names, err := os.ReadDir(b.dir) // sorted, and so are numbers of one length
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil { // names that it may hold shall not be given to other messages
		b.last = uint64(time.Now().UnixMicro())
		return nil, 0, durable.Plain(err)
	}
	for _, name := range names {
		path := filepath.Join(b.dir, name.Name())
		text, ours := strings.CutSuffix(name.Name(), suffix)
		number, err := strconv.ParseUint(text, 10, 64)
		if !ours || err != nil || number == 0 || path != b.path(number) { // what a crash has left of a write
			_ = os.Remove(path)
			continue
		}
		b.last = max(b.last, number)
		m, err := read(path)
		switch {
		case errors.Is(err, errDamaged):
			_ = os.Remove(path)
			damaged++
		case err != nil:
			damaged++
		default:
			waiting = append(waiting, entry{Message: m, number: number})
		}
	}
	return waiting, damaged, nil
}

// read gives a message from its file; errDamaged when it is none.
func read(path string) (m Message, err error) {
	data, _, err := durable.ReadRegular(path, maxFile)
	switch {
	case errors.Is(err, durable.ErrTooLarge), errors.Is(err, durable.ErrNotRegular):
		return m, errDamaged
	case err != nil:
		return m, err
	case len(data) < headBytes || string(data[:len(magic)]) != magic:
		return m, errDamaged
	}
	sum, n := binary.BigEndian.Uint32(data[len(magic):]), binary.BigEndian.Uint32(data[len(magic)+4:])
	if crc32.Checksum(data[len(magic)+4:], castagnoli) != sum || uint64(n) > uint64(len(data)-headBytes) {
		return m, errDamaged
	}
	var s stored
	if document.UnmarshalOpen(data[headBytes:headBytes+int(n)], &s) != nil { // a later version may have added fields
		return m, errDamaged
	}
	if m.Topic, err = topics.Parse(s.Topic); err != nil {
		return m, errDamaged
	}
	m.ContentType, m.Correlation, m.Response, m.User, m.Retained = s.ContentType, s.Correlation, s.Response, s.User, s.Retained
	m.QoS, m.Received, m.restored = 1, time.UnixMicro(s.Received), true
	if s.Expiry != nil {
		m.Expires, m.Expiry = true, time.Duration(*s.Expiry)*time.Microsecond
	}
	m.Payload = slices.Clone(data[headBytes+int(n):])
	return m, nil
}
