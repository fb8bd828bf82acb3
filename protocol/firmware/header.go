package firmware

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"telltale.dev/protocol/document"
	"telltale.dev/protocol/signed"
)

// Limits of what is written and read.
const (
	MaxHeader  = 4 << 10 // bytes of the COSE_Sign1
	MaxPayload = 4 << 30 // bytes
	maxText    = 64      // bytes of a board or version
)

// layoutVersion is the only layout so far.
const layoutVersion = 1

// Errors that callers branch on. They are wrapped by errors that name the place.
var (
	// ErrNotUpdate says that the bytes do not begin like an update file, or that its header has another form.
	ErrNotUpdate = errors.New("not an update file")
	// ErrWrongBoard says that the update is for other hardware.
	ErrWrongBoard = errors.New("update is for another board")
	// ErrOlder says that the release is older than the one running.
	ErrOlder = errors.New("update is older than what runs")
	// ErrTruncated says that the file ends too early.
	ErrTruncated = errors.New("update file is truncated")
	// ErrCorrupt says that the payload is not the one that was signed.
	ErrCorrupt = errors.New("update file is corrupt")
)

// magic begins every update file.
const magic = "TELLTALE"

// prefixSize is how many bytes come before the header.
const prefixSize = len(magic) + 4

// context says what the signature is for.
const context = "telltale.dev/firmware/update/v1"

// Manifest says what the payload is.
type Manifest struct {
	Board   string   // the hardware it is for, such as "qemu-arm64": 1 to 64 of [A-Za-z0-9._-]
	Version string   // for people: 1 to 64 of [A-Za-z0-9._+~-]
	Release uint64   // counts up from 1 with every firmware given out
	Size    int64    // of the payload, in bytes; at least 1, at most MaxPayload
	SHA256  [32]byte // of the payload
}

// wireManifest is the signed map.
type wireManifest struct {
	Layout  uint64 `cbor:"1,keyasint"`
	Board   string `cbor:"2,keyasint"`
	Version string `cbor:"3,keyasint"`
	Release uint64 `cbor:"4,keyasint"`
	Size    uint64 `cbor:"5,keyasint"`
	SHA256  []byte `cbor:"6,keyasint"`
}

// Validate says which field is wrong and what was expected.
func (m *Manifest) Validate() error {
	if err := checkText("board", m.Board, "._-"); err != nil {
		return err
	}
	if err := checkText("version", m.Version, "._+~-"); err != nil {
		return err
	}
	if m.Release == 0 {
		return errors.New("release: expected a number from 1")
	}
	if m.Size < 1 || m.Size > MaxPayload {
		return fmt.Errorf("payload size: expected 1 to %d bytes", int64(MaxPayload))
	}
	return nil
}

func checkText(what, s, marks string) error {
	if s == "" || len(s) > maxText {
		return fmt.Errorf("%s: expected 1 to %d characters", what, maxText)
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') && strings.IndexByte(marks, c) < 0 {
			return fmt.Errorf("%s: expected letters, digits and %s, found %q", what, marks, c)
		}
	}
	return nil
}

// Header is the signed part of an update file. What it says is to be believed
// only after Verify.
type Header struct {
	Manifest Manifest
	message  *signed.Message
}

// Key names the key that signed.
func (h *Header) Key() signed.KeyID { return h.message.Key }

// Identity names the update whatever twin of the signature its file has (signed.Message.Identity).
func (h *Header) Identity() ([32]byte, error) { return h.message.Identity() }

// Verify returns nil when a trusted key signed the header, else signed.ErrWrongKey or signed.ErrSignature.
func (h *Header) Verify(keys signed.Keys) error { return h.message.Verify(context, keys) }

// Size is how many bytes of the file come before the payload; FileSize how many it has in all.
func (h *Header) Size() (int, error) {
	data, err := h.Bytes()
	return len(data), err
}

// FileSize is how many bytes the whole file has.
func (h *Header) FileSize() (int64, error) {
	n, err := h.Size()
	return int64(n) + h.Manifest.Size, err
}

// ReadHeader reads up to the payload, strictly: exactly one form of each header is
// accepted. The error wraps ErrNotUpdate or ErrTruncated, or is r's own.
func ReadHeader(r io.Reader) (*Header, error) {
	prefix := make([]byte, prefixSize)
	n, err := io.ReadFull(r, prefix)
	if !bytes.HasPrefix([]byte(magic), prefix[:min(n, len(magic))]) || n >= len(magic) && string(prefix[:len(magic)]) != magic {
		return nil, fmt.Errorf("magic: expected %q: %w", magic, ErrNotUpdate)
	}
	if err != nil {
		return nil, readError("header", err)
	}
	size := binary.BigEndian.Uint32(prefix[len(magic):])
	if size == 0 || size > MaxHeader {
		return nil, fmt.Errorf("header: expected 1 to %d bytes, found %d: %w", MaxHeader, size, ErrNotUpdate)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, readError("header", err)
	}
	return parse(data)
}

// readError says that the file ended too early, or gives the reader's own error.
func readError(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w", what, ErrTruncated)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// parse reads the COSE_Sign1.
func parse(data []byte) (*Header, error) {
	message, err := signed.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("header: %w: %w", err, ErrNotUpdate)
	}
	var m wireManifest
	if err := document.Unmarshal(message.Content, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", ErrNotUpdate, err)
	}
	if m.Layout != layoutVersion {
		return nil, fmt.Errorf("manifest: expected layout version %d, found %d: %w", layoutVersion, m.Layout, ErrNotUpdate)
	}
	h := &Header{message: message}
	if len(m.SHA256) != len(h.Manifest.SHA256) {
		return nil, fmt.Errorf("manifest: SHA-256: expected %d bytes: %w", len(h.Manifest.SHA256), ErrNotUpdate)
	}
	h.Manifest = Manifest{Board: m.Board, Version: m.Version, Release: m.Release, Size: int64(min(m.Size, MaxPayload+1)), SHA256: [32]byte(m.SHA256)}
	if err := h.Manifest.Validate(); err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", err, ErrNotUpdate)
	}
	// One form only: else one signed update would have many files.
	if again, err := document.Marshal(m); err != nil || !bytes.Equal(again, message.Content) {
		return nil, fmt.Errorf("manifest: expected deterministic CBOR without further fields: %w", ErrNotUpdate)
	}
	return h, nil
}

// Bytes gives the file up to its payload.
func (h *Header) Bytes() ([]byte, error) {
	data, err := h.message.Bytes()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if len(data) > MaxHeader {
		return nil, fmt.Errorf("write header: expected at most %d bytes, found %d", MaxHeader, len(data))
	}
	return append(binary.BigEndian.AppendUint32([]byte(magic), uint32(len(data))), data...), nil
}
