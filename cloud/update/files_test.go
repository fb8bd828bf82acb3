package update_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"telltale.dev/cloud/update"
	"telltale.dev/protocol"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/principal"
	"telltale.dev/protocol/signed"
	"telltale.dev/protocol/updates"
)

func TestUpload(t *testing.T) {
	b := newBench(t)
	u := b.open()
	file := b.file(7, 100_000)
	f, err := u.Upload(t.Context(), iotest.HalfReader(bytes.NewReader(file)))
	if err != nil || f.Hash != hashOf(file) || f.Size != int64(len(file)) || f.Board != "board" || f.Version != "2.0" || f.Release != 7 || f.Uploaded == 0 {
		t.Fatalf("got %+v, %v", f, err)
	}
	if again, err := u.Upload(t.Context(), bytes.NewReader(file)); err != nil || again.Hash != f.Hash {
		t.Errorf("got %+v, %v", again, err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "incoming-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	u = b.open()
	if got := u.Files(); len(got) != 1 || got[0].Hash != f.Hash || got[0].Version != "2.0" {
		t.Errorf("after a restart: got %+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "incoming-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	e := b.begun(u) // of another file
	if err := errors.Join(u.Delete(f.Hash)); err != nil {
		t.Error(err)
	}
	if err := u.Delete(f.Hash); !errors.Is(err, update.ErrUnknownFile) {
		t.Errorf("got %v", err)
	}
	if err := u.Delete(e.File.Hash); !errors.Is(err, update.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

// TestDamagedFiles: a file that lost bytes is set aside at the start; the same file uploaded again takes its place.
func TestDamagedFiles(t *testing.T) {
	b := newBench(t)
	u := b.open()
	files := [][]byte{b.file(7, 1000), b.file(8, 1000), b.file(9, 1000)}
	for i, size := range []int64{int64(len(files[0])), int64(len(files[1])) - 1, 3} {
		f, err := u.Upload(t.Context(), bytes.NewReader(files[i]))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(b.dir, f.Hash.String()+".update"), size); err != nil {
			t.Fatal(err)
		}
	}
	u = b.open()
	if got := u.Files(); len(got) != 1 || got[0].Release != 7 {
		t.Errorf("got %+v, want the whole one", got)
	}
	if aside, _ := filepath.Glob(filepath.Join(b.dir, "*.update.damaged")); len(aside) != 2 {
		t.Errorf("got %v set aside, want two", aside)
	}
	if f, err := u.Upload(t.Context(), bytes.NewReader(files[1])); err != nil || f.Size != int64(len(files[1])) {
		t.Errorf("got %+v, %v", f, err)
	}
	if got := b.open().Files(); len(got) != 2 {
		t.Errorf("got %+v, want two", got)
	}
}

func TestUploadRefuses(t *testing.T) {
	b := newBench(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signed.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	file := b.file(7, 1000)
	damaged := bytes.Clone(file)
	damaged[len(damaged)-1] ^= 1
	cut := errors.New("cut off")
	for name, c := range map[string]struct {
		edit func(*update.Config)
		from io.Reader
		want error
	}{
		"nothing":    {nil, bytes.NewReader(nil), firmware.ErrTruncated},
		"text":       {nil, bytes.NewReader([]byte("hello, I am no update file")), firmware.ErrNotUpdate},
		"truncated":  {nil, bytes.NewReader(file[:len(file)-1]), firmware.ErrTruncated},
		"damaged":    {nil, bytes.NewReader(damaged), firmware.ErrCorrupt},
		"longer":     {nil, bytes.NewReader(append(bytes.Clone(file), 0)), firmware.ErrCorrupt},
		"too large":  {func(c *update.Config) { c.MaxFile = 100 }, bytes.NewReader(file), update.ErrTooLarge},
		"wrong key":  {func(c *update.Config) { c.Keys = keys }, bytes.NewReader(file), signed.ErrWrongKey},
		"broken off": {nil, io.MultiReader(bytes.NewReader(file[:500]), iotest.ErrReader(cut)), cut},
	} {
		t.Run(name, func(t *testing.T) {
			u := b.open()
			if c.edit != nil {
				u = b.open(c.edit)
			}
			if f, err := u.Upload(t.Context(), c.from); !errors.Is(err, c.want) {
				t.Errorf("got %+v, %v, want %v", f, err, c.want)
			}
			if left, _ := os.ReadDir(b.dir); len(left) > 0 || len(u.Files()) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// server runs the download server with certificates of a test authority; identities stand in their common names.
func server(t *testing.T, u *update.Updates, edit ...func(*update.ServerConfig)) (addr string, client func(name string) *http.Client) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) tls.Certificate {
		template := x509.Certificate{NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
		template.SerialNumber, template.Subject.CommonName = big.NewInt(1), name
		der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	own := issue("server")
	cfg := update.ServerConfig{
		Listen: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert}, Updates: u,
		Identify: func(c *x509.Certificate) (principal.Principal, error) {
			switch name := c.Subject.CommonName; name {
			case "nobody":
				return principal.Principal{}, errors.New("no identity")
			case "ops":
				return principal.OfOperator("ops"), nil
			case "ivi":
				return principal.OfDevice("bus", "ivi"), nil
			default:
				return principal.OfDevice("car", protocol.DeviceID(name)), nil
			}
		},
		Active: func(_ protocol.VehicleID, did protocol.DeviceID) error {
			if did == "suspended" {
				return errors.New("suspended")
			}
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
	}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := update.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addr().String(), func(name string) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{issue(name)}, InsecureSkipVerify: true}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
}

// fetch gets a file, or the part of it from ranges on.
func fetch(t *testing.T, client *http.Client, url, ranges string, hash updates.FileHash) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		req.Header.Set("Range", ranges)
		req.Header.Set("If-Range", `"`+hash.String()+`"`)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestDownload(t *testing.T) {
	b := newBench(t)
	u := b.open()
	e := b.begun(u)
	file := b.file(7, 1000)
	addr, client := server(t, u)
	ask := func(name, path, ranges string) (int, string, http.Header) {
		t.Helper()
		return fetch(t, client(name), "https://"+addr+path, ranges, e.File.Hash)
	}
	path := updates.DownloadPath(e.File.Hash)
	if code, body, header := ask("tcu", path, ""); code != http.StatusOK || body != string(file) || header.Get("ETag") == "" {
		t.Errorf("got %d with %d bytes", code, len(body))
	}
	if code, body, header := ask("tcu", path, "bytes=100-"); code != http.StatusPartialContent || body != string(file[100:]) || header.Get("Content-Range") == "" {
		t.Errorf("got %d with %d bytes", code, len(body))
	}
	other := b.file(8, 10)
	if _, err := u.Upload(t.Context(), bytes.NewReader(other)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		who, path string
		want      int
	}{
		"an operator":     {"ops", path, http.StatusForbidden},
		"nobody":          {"nobody", path, http.StatusForbidden},
		"another device":  {"ivi", path, http.StatusForbidden},
		"suspended":       {"suspended", path, http.StatusForbidden},
		"another file":    {"tcu", updates.DownloadPath(hashOf(other)), http.StatusForbidden},
		"no such file":    {"tcu", updates.DownloadPath(updates.FileHash{1}), http.StatusForbidden},
		"no hash":         {"tcu", "/v1/files/..%2f..%2fetc", http.StatusNotFound},
		"something else":  {"tcu", "/v1/vehicles", http.StatusNotFound},
		"the folder":      {"tcu", "/v1/files/", http.StatusNotFound},
		"upper case hash": {"tcu", "/v1/files/" + string(bytes.ToUpper([]byte(e.File.Hash.String()))), http.StatusNotFound},
	} {
		if code, _, _ := ask(c.who, c.path, ""); code != c.want {
			t.Errorf("%s: got %d, want %d", name, code, c.want)
		}
	}
	b.say(u, e.ID, 1, updates.Confirmed, 0)
	if code, _, _ := ask("tcu", path, ""); code != http.StatusForbidden {
		t.Errorf("after the end: got %d", code)
	}
	if st := u.Stats(); st.Downloads != 2 || st.RefusedDownloads < 5 || st.Bytes < uint64(len(file)) {
		t.Errorf("got %+v", st)
	}
}

// TestUploadOfTwin: a file whose signature was turned into its twin, which anybody can do, is no other update.
func TestUploadOfTwin(t *testing.T) {
	b := newBench(t)
	u := b.open()
	file := b.file(7, 1000)
	twin := bytes.Clone(file)
	s := twin[len(twin)-1000-32 : len(twin)-1000] // before the payload
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(s)).FillBytes(s)
	if _, err := firmware.ReadHeader(bytes.NewReader(twin)); err != nil || bytes.Equal(file, twin) {
		t.Fatalf("no twin: %v", err)
	}
	first, err := u.Upload(t.Context(), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if again, err := u.Upload(t.Context(), bytes.NewReader(twin)); err != nil || again != first || len(u.Files()) != 1 {
			t.Errorf("got %+v, %v and %d files; want %+v alone", again, err, len(u.Files()), first)
		}
		u = b.open()
	}
}

// TestUploadRepairs: a file that was damaged on disk is whole again when it is uploaded once more.
func TestUploadRepairs(t *testing.T) {
	b := newBench(t)
	u := b.open()
	file := b.file(7, 1000)
	if _, err := u.Upload(t.Context(), bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(b.dir, "*"+".update"))
	if err != nil || len(kept) != 1 {
		entries, _ := os.ReadDir(b.dir)
		t.Fatalf("got %v of %v, %v", kept, entries, err)
	}
	damaged := bytes.Clone(file)
	damaged[len(damaged)-1] ^= 1
	if err := os.WriteFile(kept[0], damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Upload(t.Context(), bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, file) {
		t.Errorf("got a damaged file still, %v", err)
	}
}
