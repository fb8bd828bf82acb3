package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// natsConfig makes the test binary a NATS server with this configuration file, which says its URL.
const natsConfig = "TELLTALE_TEST_NATS_CONFIG"

func natsMain(config string) int {
	opts, err := server.ProcessConfigFile(config)
	if err == nil {
		opts.NoLog, opts.NoSigs = true, true
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			s.Start()
			if s.ReadyForConnections(20 * time.Second) {
				fmt.Println(s.ClientURL())
				select {}
			}
			err = errors.New("not ready")
		}
	}
	fmt.Println("error", err)
	return 1
}

// natsProcess is a NATS server as somebody else runs it: with TLS, and for one user. It gives the flags for it, and a client.
func natsProcess(t *testing.T) (flags []string, js jetstream.JetStream) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	web := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1, and its own authority
	certificate := web.TLS.Certificates[0]
	web.Close()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca := write("server.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	secret := write("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	nkey := write("user.nk", seed)
	config := write("nats.conf", fmt.Appendf(nil, "listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q, sync_interval: always }\n"+
		"tls { cert_file: %q, key_file: %q }\nauthorization { users: [{nkey: %s}] }\n", filepath.Join(dir, "store"), ca, secret, public))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), natsConfig+"="+config)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	said, err := bufio.NewReader(out).ReadString('\n')
	url := strings.TrimSpace(said)
	if err != nil || strings.HasPrefix(said, "error") {
		t.Fatalf("the server said %q, %v", said, err)
	}
	option, err := nats.NkeyOptionFromSeed(nkey)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(url, option, nats.RootCAs(ca))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	return []string{"--nats", url, "--nats-ca", ca, "--nats-nkey", nkey}, js
}

// stored is how many messages of vehicles the server has.
func stored(t *testing.T, js jetstream.JetStream) (n uint64) {
	t.Helper()
	for _, name := range []string{"UP", "LOW"} {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		n += s.CachedInfo().State.Msgs
	}
	return n
}

// TestUpNATS keeps a cloud running whose streams are on a server with TLS, for one user.
func TestUpNATS(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	flags, js := natsProcess(t)
	dir, _ := ups(t, flags...)
	for end := time.Now().Add(time.Minute); stored(t, js) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("got no message of the vehicle on the server")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".telltale", "up", "cloud", "backbone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no streams of its own", err)
	}
	out, err := paste(t.Context(), dir, "telltale up --empty --data other --mqtt 127.0.0.1:0 --http 127.0.0.1:0 "+strings.Join(flags[:4], " "))
	if err == nil || !strings.Contains(out, "nats server unreachable at 127.0.0.1:") || strings.Count(out, "\n") != 1 {
		t.Errorf("without the key: got %v and %s, want one line", err, out)
	}
}

// TestDemoNATS drives with the cloud's streams on a server with TLS, for one user, twice in two folders: it adds up each time.
func TestDemoNATS(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	dir := t.TempDir()
	flags, js := natsProcess(t)
	for name, text := range map[string]string{
		"tiny.log": "(1.000000) can0 100#28000100\n(1.500000) can0 100#29000100\n(2.000000) can0 100#2A000100\n",
		"tiny.dbc": "VERSION \"\"\nBU_: ECU\nBO_ 256 Motor: 4 ECU\n SG_ Speed : 0|16@1+ (0.25,-10) [0|0] \"rpm\" ECU\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, data := range []string{"first", "second"} {
		out, err := paste(t.Context(), dir, "telltale demo --log tiny.log --dbc tiny.dbc --faults none --speed 1 --json --data "+data+" "+strings.Join(flags, " "))
		if err != nil || !strings.Contains(out, `"samples_stored":3,`) {
			t.Errorf("%s: got %v and %s, want 3 samples stored", data, err, out)
		}
		if stored(t, js) == 0 {
			t.Errorf("%s: got no message on the server", data)
		}
	}
}
