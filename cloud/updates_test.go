package cloud_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud"
	"telltale.dev/cloud/provisioning"
	"telltale.dev/cloud/update"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
)

// updateFile is a signed update file of n bytes of payload.
func updateFile(t testing.TB, n int) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := firmware.Sign(&out, firmware.Manifest{Board: "b", Version: "2.0", Release: 2}, bytes.NewReader(make([]byte, n)), key); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// send makes a request with a body and decodes a good answer; it gives status and text.
func (s *stage) send(method, path string, body io.Reader, answer any) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.HTTPAddr().String()+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(text, answer); err != nil {
			s.t.Fatalf("%s: %v: %s", path, err, text)
		}
	}
	return resp.StatusCode, string(text)
}

// downloader is the HTTP client of who holds the credentials.
func (s *stage) downloader(creds provisioning.Credentials, err error) *http.Client {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(creds.CertPEM, creds.KeyPEM)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(creds.CAPEM)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (s *stage) fetch(client *http.Client, path string) (int, []byte) {
	s.t.Helper()
	resp, err := client.Get("https://" + s.DownloadAddr().String() + path)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestUpdateOverTheAPI(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Download, cfg.MaxUpdate = "127.0.0.1:0", 1<<20
	s := start(t, cfg)
	car := s.device("anna", "tcu")
	car.subscribe("v1/anna/down/config/+")
	file := updateFile(t, 10_000)

	kept := s.uploads(file)
	s.refusals(kept.File)

	ask := fmt.Sprintf(`{"file":%q,"health_s":60,"deadlines_s":{"DOWNLOADING":100}}`, kept.File)
	var u update.Update
	if code, text := s.send(http.MethodPut, "/v1/vehicles/anna/update", strings.NewReader(ask), &u); code != http.StatusOK || u.State != "PENDING" || u.Device != "tcu" {
		t.Fatalf("got %d %s", code, text)
	}
	if code, text := s.send(http.MethodPut, "/v1/vehicles/anna/update", strings.NewReader(ask), nil); code != http.StatusConflict {
		t.Errorf("got %d %s", code, text)
	}
	var doc updates.Update
	if m := car.next(patience); m == nil || document.Unmarshal(m.Payload, &doc) != nil || m.Topic != "v1/anna/down/config/update" || string(doc.ID) != u.ID || doc.Health != 60 {
		t.Fatalf("got %+v as document", m)
	}
	s.downloads(kept.File, file)

	say := func(seq uint64, state updates.State) {
		t.Helper()
		car.stored("v1/anna/up/update/tcu/feedback", marshal(t, updates.Feedback{
			Version: 1, Device: "tcu", Update: doc.ID, State: state, Sequence: seq, Running: updates.Running{Version: "1.0", Slot: "A"},
		}))
		s.eventually(func() string {
			var f update.Firmware
			if s.get("/v1/vehicles/anna/update", &f); f.Update == nil || f.Update.State != string(state) {
				return fmt.Sprintf("got %+v, want %s", f.Update, state)
			}
			return ""
		})
	}
	say(1, updates.Downloading)
	car.stored("v1/anna/up/update/tcu/feedback", []byte("junk")) // counted, and nothing else
	// The document is there for who connects later, and gone once the update has ended.
	second := s.device("anna", "tcu")
	second.subscribe("v1/anna/down/config/+")
	if m := second.next(patience); m == nil || m.Topic != "v1/anna/down/config/update" || !m.Retain {
		t.Errorf("got %+v", m)
	}
	car = second
	say(2, updates.Confirmed)
	s.over(kept.File)
	s.survives(cfg)
}

// uploads keeps the file, and nothing that is no update file.
func (s *stage) uploads(file []byte) (kept update.UpdateFile) {
	s.t.Helper()
	if code, text := s.send(http.MethodPost, "/v1/updates", bytes.NewReader(file), &kept); code != http.StatusCreated || kept.Version != "2.0" {
		s.t.Fatalf("got %d %s", code, text)
	}
	for name, c := range map[string]struct {
		body []byte
		want int
	}{
		"text":      {[]byte("hello, this is no update"), http.StatusUnprocessableEntity},
		"truncated": {file[:5000], http.StatusUnprocessableEntity},
		"too large": {updateFile(s.t, 2<<20), http.StatusRequestEntityTooLarge},
	} {
		if code, text := s.send(http.MethodPost, "/v1/updates", bytes.NewReader(c.body), nil); code != c.want || !strings.Contains(text, "detail") {
			s.t.Errorf("%s: got %d %s, want %d", name, code, text, c.want)
		}
	}
	return kept
}

// refusals are requests that begin no update.
func (s *stage) refusals(file string) {
	s.t.Helper()
	for name, c := range map[string]struct {
		path, body string
		want       int
	}{
		"unknown vehicle": {"/v1/vehicles/nobody/update", fmt.Sprintf(`{"file":%q}`, file), http.StatusNotFound},
		"unknown device":  {"/v1/vehicles/anna/update", fmt.Sprintf(`{"file":%q,"did":"other"}`, file), http.StatusNotFound},
		"unknown file":    {"/v1/vehicles/anna/update", fmt.Sprintf(`{"file":%q}`, strings.Repeat("0", 64)), http.StatusNotFound},
		"no hash":         {"/v1/vehicles/anna/update", `{"file":"../x"}`, http.StatusUnprocessableEntity},
		"strange state":   {"/v1/vehicles/anna/update", fmt.Sprintf(`{"file":%q,"deadlines_s":{"NEVER":5}}`, file), http.StatusUnprocessableEntity},
	} {
		if code, text := s.send(http.MethodPut, c.path, strings.NewReader(c.body), nil); code != c.want {
			s.t.Errorf("%s: got %d %s, want %d", name, code, text, c.want)
		}
	}
	if code := s.ask(http.MethodPost, "/v1/vehicles/anna/update/cancel", nil); code != http.StatusConflict {
		s.t.Errorf("cancel of nothing: got %d", code)
	}
	if code := s.get("/v1/vehicles/nobody/update", nil); code != http.StatusNotFound {
		s.t.Errorf("status of nobody: got %d", code)
	}
}

// downloads: the file is for the device that it is addressed to, by its certificate, and for nobody else.
func (s *stage) downloads(hash string, file []byte) {
	s.t.Helper()
	h, err := updates.ParseFileHash(hash)
	if err != nil {
		s.t.Fatal(err)
	}
	path := updates.DownloadPath(h)
	if code, body := s.fetch(s.downloader(s.authority().IssueDevice("anna", "tcu", time.Hour)), path); code != http.StatusOK || !bytes.Equal(body, file) {
		s.t.Errorf("got %d and %d bytes", code, len(body))
	}
	if code, _ := s.fetch(s.downloader(s.authority().IssueDevice("bert", "tcu", time.Hour)), path); code != http.StatusForbidden {
		s.t.Errorf("another vehicle: got %d", code)
	}
	if code, _ := s.fetch(s.downloader(s.authority().IssueOperator("ops", time.Hour)), path); code != http.StatusForbidden {
		s.t.Errorf("an operator: got %d", code)
	}
	strangers, err := provisioning.OpenCA(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	creds, err := strangers.IssueDevice("anna", "tcu", time.Hour)
	creds.CAPEM = s.authority().CertPEM()
	if code, _ := s.fetch(s.downloader(creds, err), path); code != 0 {
		s.t.Errorf("a certificate of another authority: got %d", code)
	}
}

// over: the update has ended, and its document is gone.
func (s *stage) over(file string) {
	s.t.Helper()
	third := s.device("anna", "tcu")
	third.subscribe("v1/anna/down/config/+")
	select {
	case m := <-third.received:
		s.t.Errorf("got %+v after the end", m)
	case <-time.After(200 * time.Millisecond):
	}
	var list []update.Update
	if s.get("/v1/updates/vehicles", &list); len(list) != 1 || list[0].State != "CONFIRMED" || len(list[0].Steps) != 3 {
		s.t.Errorf("got %+v", list)
	}
	if code := s.ask(http.MethodDelete, "/v1/updates/"+file, nil); code != http.StatusNoContent {
		s.t.Errorf("got %d", code)
	}
	if _, text := s.send(http.MethodGet, "/metrics", nil, nil); !strings.Contains(text, "telltale_update_uploads_total 1") || !strings.Contains(text, "telltale_update_downloads_refused_total 2") {
		s.t.Error("metrics lack the updates")
	}
}

// survives: after a restart everything is known that was known.
func (s *stage) survives(cfg cloud.Config) {
	s.t.Helper()
	s.stop()
	again := start(s.t, cfg)
	var f update.Firmware
	if again.get("/v1/vehicles/anna/update", &f); f.Update == nil || f.Update.State != "CONFIRMED" || len(f.Devices) != 1 || f.Devices[0].Version != "1.0" {
		s.t.Errorf("got %+v", f)
	}
}
