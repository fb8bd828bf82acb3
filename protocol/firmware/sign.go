package firmware

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"telltale.dev/protocol/document"
	"telltale.dev/protocol/signed"
)

// Sign writes an update file: the header for m, then the payload, which is read
// twice. m.Size and m.SHA256 are set from the payload. The key is one of curve
// P-256. With an *ecdsa.PrivateKey the file is the same at each call (RFC 6979).
func Sign(w io.Writer, m Manifest, payload io.ReadSeeker, key crypto.Signer) (*Header, error) {
	start, err := payload.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	digest := sha256.New()
	if m.Size, err = io.Copy(digest, payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	m.SHA256 = [32]byte(digest.Sum(nil))
	h, err := newHeader(m, key)
	if err != nil {
		return nil, err
	}
	head, err := h.Bytes()
	if err != nil {
		return nil, err
	}
	if _, err := payload.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return nil, fmt.Errorf("write update file: %w", err)
	}
	digest.Reset()
	if _, err := io.Copy(io.MultiWriter(w, digest), payload); err != nil {
		return nil, fmt.Errorf("write update file: %w", err)
	}
	if [32]byte(digest.Sum(nil)) != m.SHA256 {
		return nil, errors.New("payload: changed while it was signed")
	}
	return h, nil
}

// newHeader signs a manifest.
func newHeader(m Manifest, key crypto.Signer) (*Header, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	content, err := document.Marshal(wireManifest{layoutVersion, m.Board, m.Version, m.Release, uint64(m.Size), m.SHA256[:]})
	if err != nil {
		return nil, err
	}
	message, err := signed.Sign(context, content, key)
	if err != nil {
		return nil, err
	}
	return &Header{Manifest: m, message: message}, nil
}
