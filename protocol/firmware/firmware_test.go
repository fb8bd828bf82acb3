package firmware_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

const board = "qemu-arm64"

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	private, public, err := signed.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signed.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func sign(t testing.TB, key *ecdsa.PrivateKey, release uint64, payload []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	m := firmware.Manifest{Board: board, Version: "1.2.3-rc.1+g0", Release: release}
	if _, err := firmware.Sign(&file, m, bytes.NewReader(payload), key); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func read(file []byte, p firmware.Policy) ([]byte, *firmware.Update, error) {
	u, err := firmware.Open(bytes.NewReader(file), p)
	if err != nil {
		return nil, nil, err
	}
	got, err := io.ReadAll(u.Payload())
	return got, u, err
}

func TestRoundTrip(t *testing.T) {
	first, firstPEM := newKey(t)
	_, secondPEM := newKey(t)
	keys, err := signed.ParseKeys(append(bytes.Clone(secondPEM), '\n'), firstPEM)
	if err != nil || len(keys) != 2 {
		t.Fatalf("got %d keys, %v", len(keys), err)
	}
	payload := bytes.Repeat([]byte("slot"), 10_000)
	file := sign(t, first, 7, payload)
	if again := sign(t, first, 7, payload); !bytes.Equal(again, file) {
		t.Error("signed twice, got different files")
	}
	got, u, err := read(file, firmware.Policy{Keys: keys, Board: board, Release: 7})
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	m := u.Header.Manifest
	if m.Version != "1.2.3-rc.1+g0" || m.Release != 7 || m.Size != int64(len(payload)) || m.SHA256 != sha256.Sum256(payload) {
		t.Errorf("got %+v", m)
	}
	if size, err := u.Header.FileSize(); err != nil || size != int64(len(file)) {
		t.Errorf("got file size %d, %v; want %d", size, err, len(file))
	}
	for _, slow := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader, iotest.HalfReader} {
		u, err := firmware.Open(slow(bytes.NewReader(file)), firmware.Policy{Keys: keys, Board: board})
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(u.Payload(), payload); err != nil {
			t.Error(err)
		}
	}
}

func TestRefused(t *testing.T) {
	key, keyPEM := newKey(t)
	other, _ := newKey(t)
	keys, err := signed.ParseKeys(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	file := sign(t, key, 7, []byte("payload"))
	edit := func(at int, b byte) []byte {
		f := bytes.Clone(file)
		f[(at+len(f))%len(f)] ^= b
		return f
	}
	payloadAt := -len("payload")
	policy := firmware.Policy{Keys: keys, Board: board, Release: 7}
	for name, c := range map[string]struct {
		file   []byte
		policy firmware.Policy
		want   error
	}{
		"empty":             {nil, policy, firmware.ErrTruncated},
		"other file":        {[]byte("PK\x03\x04 a zip file of some length"), policy, firmware.ErrNotUpdate},
		"short other file":  {[]byte("PK"), policy, firmware.ErrNotUpdate},
		"only magic":        {file[:8], policy, firmware.ErrTruncated},
		"huge header":       {edit(8, 0x80), policy, firmware.ErrNotUpdate},
		"cut in header":     {file[:40], policy, firmware.ErrTruncated},
		"cut in payload":    {file[:len(file)-1], policy, firmware.ErrTruncated},
		"no payload":        {file[:len(file)+payloadAt], policy, firmware.ErrTruncated},
		"bytes follow":      {append(bytes.Clone(file), 0), policy, firmware.ErrCorrupt},
		"payload bit":       {edit(-1, 1), policy, firmware.ErrCorrupt},
		"signature bit":     {edit(payloadAt-1, 1), policy, signed.ErrSignature},
		"no key":            {file, firmware.Policy{Board: board}, signed.ErrWrongKey},
		"other key":         {sign(t, other, 7, []byte("payload")), policy, signed.ErrWrongKey},
		"other board":       {file, firmware.Policy{Keys: keys, Board: "rpi-cm4"}, firmware.ErrWrongBoard},
		"older":             {file, firmware.Policy{Keys: keys, Board: board, Release: 8}, firmware.ErrOlder},
		"older, allowed":    {file, firmware.Policy{Keys: keys, Board: board, Release: 8, AllowDowngrade: true}, nil},
		"nothing installed": {file, firmware.Policy{Keys: keys, Board: board}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := read(c.file, c.policy); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestNeverWhole: who reads as many bytes as announced and no more gets less than those when they are not the signed ones.
func TestNeverWhole(t *testing.T) {
	key, keyPEM := newKey(t)
	keys, err := signed.ParseKeys(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	file := sign(t, key, 7, make([]byte, 1000))
	file[len(file)-500] ^= 1
	u, err := firmware.Open(bytes.NewReader(file), firmware.Policy{Keys: keys, Board: board})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(u.Payload(), make([]byte, 1000)); n == 1000 || !errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// TestEveryByteCounts flips each byte of the header: nothing of it can be changed.
func TestEveryByteCounts(t *testing.T) {
	key, keyPEM := newKey(t)
	keys, err := signed.ParseKeys(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	file := sign(t, key, 7, []byte("payload"))
	policy := firmware.Policy{Keys: keys, Board: board}
	for i := range file {
		for _, bit := range []byte{1, 0x10, 0x80} {
			damaged := bytes.Clone(file)
			damaged[i] ^= bit
			if _, _, err := read(damaged, policy); err == nil {
				t.Errorf("byte %d with bit %#x flipped was accepted", i, bit)
			}
		}
		if _, _, err := read(file[:i], policy); !errors.Is(err, firmware.ErrTruncated) {
			t.Errorf("cut at byte %d: got %v", i, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key, _ := newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := firmware.Manifest{Board: board, Version: "1", Release: 1}
	for want, c := range map[string]struct {
		edit    func(*firmware.Manifest)
		key     *ecdsa.PrivateKey
		payload string
	}{
		"board: ":        {func(m *firmware.Manifest) { m.Board = "" }, key, "x"},
		"version: ":      {func(m *firmware.Manifest) { m.Version = "1 2" }, key, "x"},
		"release: ":      {func(m *firmware.Manifest) { m.Release = 0 }, key, "x"},
		"payload size: ": {func(*firmware.Manifest) {}, key, ""},
		"signing key: ":  {func(*firmware.Manifest) {}, p384, "x"},
	} {
		m := good
		c.edit(&m)
		var out bytes.Buffer
		if _, err := firmware.Sign(&out, m, strings.NewReader(c.payload), c.key); err == nil || !strings.HasPrefix(err.Error(), want) || out.Len() > 0 {
			t.Errorf("got %v and %d bytes, want %q", err, out.Len(), want)
		}
	}
}

// FuzzHeader: what is accepted is written back as the same bytes.
func FuzzHeader(f *testing.F) {
	key, _ := newKey(f)
	file := sign(f, key, 7, []byte("payload"))
	f.Add(file)
	f.Add(file[:len(file)-8])
	f.Add([]byte("TELLTALE\x00\x00\x00\x05\xd2\x84\x40\xa0\x40"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := firmware.ReadHeader(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := h.Bytes()
		if err != nil || !bytes.HasPrefix(data, again) {
			t.Errorf("got %x, %v; want a prefix of %x", again, err, data)
		}
		if h.Verify(nil) == nil {
			t.Error("nobody is trusted, and yet the header was verified")
		}
	})
}
