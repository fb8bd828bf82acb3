package firmware

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"telltale.dev/protocol/signed"
)

// Policy is what a device accepts.
type Policy struct {
	Keys           signed.Keys
	Board          string // its own
	Release        uint64 // the one running; zero: unknown, every release is new
	AllowDowngrade bool
}

// Update is an update file whose header is verified and accepted.
type Update struct {
	Header *Header
	body   payload
}

// Open reads and verifies the header and holds it against the policy. The error
// wraps one of this package's, or is r's own.
func Open(r io.Reader, p Policy) (*Update, error) {
	h, err := ReadHeader(r)
	if err != nil {
		return nil, err
	}
	if err := h.Check(p); err != nil {
		return nil, err
	}
	return &Update{Header: h, body: h.payload(r)}, nil
}

// Payload reads from r what follows the header, as Update.Payload does. It is for who
// keeps update files without trusting or refusing their keys.
func (h *Header) Payload(r io.Reader) io.Reader {
	p := h.payload(r)
	return &p
}

func (h *Header) payload(r io.Reader) payload {
	return payload{from: r, left: h.Manifest.Size, want: h.Manifest.SHA256, hash: sha256.New()}
}

// Check verifies the signature and then holds the content against the policy.
func (h *Header) Check(p Policy) error {
	if err := h.Verify(p.Keys); err != nil {
		return err
	}
	m := &h.Manifest
	switch {
	case m.Board != p.Board:
		return fmt.Errorf("board %s, expected %s: %w", m.Board, p.Board, ErrWrongBoard)
	case m.Release < p.Release && !p.AllowDowngrade:
		return fmt.Errorf("release %d, expected at least %d: %w", m.Release, p.Release, ErrOlder)
	}
	return nil
}

// Payload gives the bytes for the slot. It ends with io.EOF only when all of them
// were there, are the signed ones and nothing follows; else with ErrTruncated or
// ErrCorrupt, after which nothing that was read may be used. There is one payload
// of an Update: a second call goes on where the first stands.
func (u *Update) Payload() io.Reader { return &u.body }

// payload checks what it hands on.
type payload struct {
	from io.Reader
	left int64
	want [32]byte
	hash hash.Hash
	end  error
}

// Read implements io.Reader.
func (p *payload) Read(b []byte) (int, error) {
	if p.end != nil || len(b) == 0 {
		return 0, p.end
	}
	if p.left == 0 {
		p.end = p.finish()
		return 0, p.end
	}
	if int64(len(b)) > p.left {
		b = b[:p.left]
	}
	n, err := p.from.Read(b)
	p.hash.Write(b[:n])
	p.left -= int64(n)
	if n > 0 && p.left == 0 && [32]byte(p.hash.Sum(nil)) != p.want {
		// The last bytes are kept back, so that who takes size bytes and asks no more never has a wrong payload whole.
		p.end = fmt.Errorf("payload: SHA-256 is another one: %w", ErrCorrupt)
		return 0, p.end
	}
	switch {
	case err == nil, errors.Is(err, io.EOF) && p.left == 0:
	case errors.Is(err, io.EOF):
		p.end = fmt.Errorf("payload: %d bytes are missing: %w", p.left, ErrTruncated)
	default:
		p.end = err
	}
	return n, p.end
}

func (p *payload) finish() error {
	if n, err := io.ReadFull(p.from, make([]byte, 1)); n > 0 {
		return fmt.Errorf("payload: bytes follow it: %w", ErrCorrupt)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

// Verify reads a whole update file and returns its header when everything about it
// is as the policy wants it. The error is like those of Open and Payload.
func Verify(r io.Reader, p Policy) (*Header, error) {
	u, err := Open(r, p)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, u.Payload()); err != nil {
		return nil, err
	}
	return u.Header, nil
}

// CheckPayload reads from r what follows the header, and says whether it is what was signed.
func (h *Header) CheckPayload(r io.Reader) error {
	_, err := io.Copy(io.Discard, h.Payload(r))
	return err
}
