package backbone_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"telltale.dev/cloud/backbone"
)

// natsChild is a NATS server as a process of its own: it reads its configuration file, says its URL and runs until it is killed.
func natsChild() {
	opts, err := server.ProcessConfigFile(os.Getenv(dirVariable))
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
}

// natsProcess starts one with this configuration and gives its URL and what kills it.
func natsProcess(t *testing.T, config string) (url string, kill func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	write(t, file, config)
	cmd, out := child(t, roleNATS, file, "")
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(kill)
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(said, "error") {
		t.Fatalf("the server said %q, %v", said, err)
	}
	return strings.TrimSpace(said), kill
}

// authority makes certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes NAME.crt and NAME.key.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	write(a.t, a.file(name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(a.t, a.file(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// tls is the server's part of the configuration: it wants a certificate of ours.
func (a *authority) tls() string {
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", a.file("server.crt"), a.file("server.key"), a.file("ca.crt"))
}

// credentials are the files for such a server.
func (a *authority) credentials() backbone.Credentials {
	return backbone.Credentials{CA: a.file("ca.crt"), Certificate: a.file("client.crt"), Key: a.file("client.key")}
}

// nkey makes a key pair of the kind and gives its public half and its seed.
func nkey(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	pair, err := create()
	if err == nil {
		public, err = pair.PublicKey()
	}
	if err == nil {
		seed, err = pair.Seed()
	}
	if err != nil {
		t.Fatal(err)
	}
	return pair, public, seed
}

// operatorMode is the configuration of a server whose users have JWTs; it writes user.creds and system.creds.
func operatorMode(t *testing.T, dir string) string {
	t.Helper()
	operator, operatorKey, _ := nkey(t, nkeys.CreateOperator)
	account := func(name string, limits jwt.JetStreamLimits) (public, token string) {
		pair, public, _ := nkey(t, nkeys.CreateAccount)
		claims := jwt.NewAccountClaims(public)
		claims.Name, claims.Limits.JetStreamLimits = name, limits
		token, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		_, user, seed := nkey(t, nkeys.CreateUser)
		word, err := jwt.NewUserClaims(user).Encode(pair)
		if err != nil {
			t.Fatal(err)
		}
		creds, err := jwt.FormatUserConfig(word, seed)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".creds"), string(creds))
		return public, token
	}
	system, systemToken := account("system", jwt.JetStreamLimits{})
	user, userToken := account("user", jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1})
	claims := jwt.NewOperatorClaims(operatorKey)
	claims.SystemAccount = system
	token, err := claims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n", token, system, system, systemToken, user, userToken)
}

// jetStream is that part of the configuration.
func jetStream(t *testing.T, sync string) string {
	return fmt.Sprintf("listen: \"127.0.0.1:-1\"\nserver_name: one\njetstream { store_dir: %q, sync_interval: %s }\n", t.TempDir(), sync)
}

// TestCredentials runs a server process with TLS that wants a certificate and the credentials of a user: with them all is as without.
func TestCredentials(t *testing.T) {
	t.Parallel() // it mostly waits
	a := newAuthority(t)
	url, _ := natsProcess(t, jetStream(t, "always")+a.tls()+operatorMode(t, a.dir))
	good := a.credentials()
	good.User = a.file("user.creds")
	var log lines
	b := open(t, backbone.Config{URL: url, Credentials: good, Log: log.logger()})
	if got := log.count("DATA MAY BE LOST"); got != 1 {
		t.Errorf("this user may not ask: said %d times that nothing is known, want once", got)
	}
	checkExpecting(t, b)
	checkTimers(t, b)
	asked := good
	asked.System = a.file("system.creds")
	log = lines{}
	open(t, backbone.Config{URL: url, Credentials: asked, Log: log.logger()})
	if log.count("every nats server writes through to disk") != 1 || log.count("WARN") > 0 {
		t.Errorf("with the system account: the log says %s", log.text.String())
	}

	write(t, a.file("bad.creds"), "no credentials")
	stranger := newAuthority(t)
	stranger.issue("client", &x509.Certificate{})
	for name, test := range map[string]struct {
		change func(*backbone.Credentials)
		want   error
		says   string
	}{
		"no user":        {func(c *backbone.Credentials) { c.User = "" }, backbone.ErrUnreachable, "Authorization"},
		"no certificate": {func(c *backbone.Credentials) { c.Certificate, c.Key = "", "" }, backbone.ErrUnreachable, "tls"},
		"a stranger's": {func(c *backbone.Credentials) {
			c.Certificate, c.Key = stranger.file("client.crt"), stranger.file("client.key")
		}, backbone.ErrUnreachable, "tls"},
		"no authority":            {func(c *backbone.Credentials) { c.CA = "" }, backbone.ErrUnreachable, "unknown authority"},
		"another authority":       {func(c *backbone.Credentials) { c.CA = stranger.file("ca.crt") }, backbone.ErrUnreachable, "unknown authority"},
		"file is missing":         {func(c *backbone.Credentials) { c.User = a.file("gone.creds") }, os.ErrNotExist, "read gone.creds for the nats server"},
		"no credentials in it":    {func(c *backbone.Credentials) { c.User = a.file("bad.creds") }, backbone.ErrUnreachable, ""},
		"a folder":                {func(c *backbone.Credentials) { c.CA = a.dir }, nil, "for the nats server"},
		"user and nkey":           {func(c *backbone.Credentials) { c.NKey = a.file("bad.creds") }, backbone.ErrInvalid, "expected one of both"},
		"nkey is none":            {func(c *backbone.Credentials) { c.User, c.NKey = "", a.file("bad.creds") }, nil, "bad.creds: expected the seed"},
		"certificate without key": {func(c *backbone.Credentials) { c.Key = "" }, backbone.ErrInvalid, "expected both or none"},
		"system that is none":     {func(c *backbone.Credentials) { c.System = a.file("user.creds") }, backbone.ErrUnsuitable, "in the system account"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			test.change(&c)
			_, err := backbone.Open(backbone.Config{URL: url, Credentials: c, StartTimeout: 10 * time.Second})
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want %v with %q", err, test.want, test.says)
			}
			if text := err.Error(); strings.Contains(text, a.dir) || strings.Contains(text, "\n") {
				t.Errorf("got %q, want one line without the path", text)
			}
		})
	}
	if _, err := backbone.Open(backbone.Config{Dir: t.TempDir(), Credentials: good}); !errors.Is(err, backbone.ErrInvalid) {
		t.Errorf("without a URL: got %v, want %v", err, backbone.ErrInvalid)
	}
}

// TestSyncIsChecked: where we may ask, a server that does not write through is refused; the account may also have been given the question.
func TestSyncIsChecked(t *testing.T) {
	t.Parallel() // it mostly waits
	_, public, seed := nkey(t, nkeys.CreateUser)
	file := filepath.Join(t.TempDir(), "user.nk")
	write(t, file, string(seed))
	accounts := func(given string) string {
		return fmt.Sprintf(`accounts {
			SYS { users: [{user: admin, password: secret}], exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response: stream}] }
			APP { jetstream: enabled, users: [{nkey: %s}], imports: [%s] }
		}
		system_account: SYS
		`, public, given)
	}
	const given = `{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}`
	for name, test := range map[string]struct {
		sync, given string
		refused     bool
		says        string
	}{
		"it writes through":    {"always", given, false, "every nats server writes through to disk"},
		"it does not":          {"2m", given, true, "sync_interval: always on one"},
		"it cannot be asked":   {"2m", "", false, "DATA MAY BE LOST"},
		"it could not be, too": {"always", "", false, "DATA MAY BE LOST"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := natsProcess(t, jetStream(t, test.sync)+accounts(test.given))
			var log lines
			b, err := backbone.Open(backbone.Config{URL: url, Credentials: backbone.Credentials{NKey: file}, Log: log.logger()})
			if test.refused {
				if !errors.Is(err, backbone.ErrUnsuitable) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %v with %q", err, backbone.ErrUnsuitable, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if got := publish(t, b, numbered(1)...)[0]; got.err != nil || log.count(test.says) != 1 || strings.Count(log.text.String(), "\n") != 1 {
				t.Errorf("got %+v and the log %s, want %q and nothing else", got, log.text.String(), test.says)
			}
		})
	}
}

// TestExpiredCredentials: a server that refuses us for a while is gone on with when it takes us again.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel() // it mostly waits
	store := t.TempDir()
	config := func(port int, password string) string {
		return fmt.Sprintf("listen: \"127.0.0.1:%d\"\njetstream { store_dir: %q, sync_interval: always }\nauthorization { user: cloud, password: %s }\n", port, store, password)
	}
	url, kill := natsProcess(t, config(-1, "first"))
	at := strings.TrimPrefix(url, "nats://")
	_, text, _ := net.SplitHostPort(at)
	var port int
	if _, err := fmt.Sscan(text, &port); err != nil {
		t.Fatal(err)
	}
	b := open(t, backbone.Config{URL: "nats://cloud:first@" + at, Log: slog.New(slog.DiscardHandler)})
	publish(t, b, numbered(3)...)
	kill()
	_, kill = natsProcess(t, config(port, "other"))
	time.Sleep(1500 * time.Millisecond) // it is refused more than once
	kill()
	natsProcess(t, config(port, "first"))
	until(t, "the server again", func() bool { return publish(t, b, numbered(1)...)[0].err == nil })
	until(t, "the server again, for readers", func() bool { _, err := b.Info(t.Context(), backbone.Up); return err == nil })
	if got := readAll(t, b, backbone.Up, 0, 4); len(got) != 4 {
		t.Errorf("got %d messages, want 4", len(got))
	}
}
