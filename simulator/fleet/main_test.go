package fleet_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/simulator/fleet"
)

// programs is the folder of the binaries, built once when a test needs them.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// build gives the path of a program; the test is skipped when the go command is not there.
func build(tb testing.TB, name string) string {
	tb.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		tb.Skip("the go command is not on PATH, which builds the programs")
	}
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "telltale-programs-"); programs.err != nil {
			return
		}
		out, err := exec.Command(goTool, "build", "-o", programs.dir+"/", "telltale.dev/cloud/cmd/telltale-cloud", "telltale.dev/simulator/cmd/telltale").CombinedOutput()
		if err != nil {
			programs.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if programs.err != nil {
		tb.Fatalf("building the programs: %v", programs.err)
	}
	return filepath.Join(programs.dir, name)
}

// server is a broker in a process of its own.
type server struct {
	addr    string // MQTT
	http    string // API of a cloud
	dir     string // data folder of a cloud
	program string
	cmd     *exec.Cmd
}

// ready is how long a server may take to start.
const ready = 20 * time.Second

// startCloud runs a cloud with an empty data folder.
func startCloud(tb testing.TB, args ...string) *server {
	tb.Helper()
	s := &server{program: build(tb, "telltale-cloud"), dir: tb.TempDir()}
	args = append([]string{"run", "--dev", "--data", s.dir, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--download", "none"}, args...)
	s.cmd = exec.Command(s.program, args...)
	log, err := os.Create(filepath.Join(tb.TempDir(), "cloud.log"))
	if err != nil {
		tb.Fatal(err)
	}
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.stop(tb)
		if text, _ := os.ReadFile(log.Name()); tb.Failed() {
			tb.Logf("cloud:\n%s", text)
		}
		_ = log.Close()
	})
	killed := time.AfterFunc(ready, func() { _ = s.cmd.Process.Kill() })
	defer killed.Stop()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var ports struct{ MQTT, HTTP string }
	if err != nil || json.Unmarshal(line, &ports) != nil {
		tb.Fatalf("telltale-cloud did not start: %v", err)
	}
	s.addr, s.http = ports.MQTT, ports.HTTP
	return s
}

// stop ends the process in order, once.
func (s *server) stop(tb testing.TB) {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(ready, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	if err := s.cmd.Wait(); err != nil {
		tb.Logf("server ended: %v", err)
	}
}

// vehicles gives n vehicles certificates of a cloud's authority.
func (s *server) vehicles(tb testing.TB, n int) ([]fleet.Identity, *x509.CertPool) {
	tb.Helper()
	list, err := fleet.Names("test", n)
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := fleet.Issue(context.Background(), s.program, s.dir, list)
	if err != nil {
		tb.Fatal(err)
	}
	return list, roots
}

// startMosquitto runs Debian's broker with TLS and required client certificates,
// storing nothing, and gives the one certificate that all its clients use.
func startMosquitto(tb testing.TB) (*server, tls.Certificate, *x509.CertPool) {
	tb.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program = "/usr/sbin/mosquitto"; exec.Command(program, "-h").Run() != nil && !exists(program) {
			tb.Skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
		}
	}
	dir := tb.TempDir()
	cert, roots := certificate(tb, dir)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{addr: listener.Addr().String()}
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(s.addr)
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\ncafile %[2]s/ca.pem\ncertfile %[2]s/cert.pem\nkeyfile %[2]s/key.pem\n"+
		"require_certificate true\npersistence false\nlog_type error\n", port, dir)
	if os.Geteuid() == 0 {
		conf += "user root\n" // else it drops to a user who cannot read the key
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.cmd = exec.Command(program, "-c", file)
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.stop(tb) })
	for deadline := time.Now().Add(ready); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = conn.Close()
			return s, cert, roots
		}
		if time.Now().After(deadline) {
			tb.Fatalf("mosquitto did not start: %v", err)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// certificate makes one for server and clients alike, and the authority that has signed it.
func certificate(tb testing.TB, dir string) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if err := errors.Join(err, err1); err != nil {
		tb.Fatal(err)
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	der, err1 := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, authorityKey)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	authorityPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	cert, err3 := tls.X509KeyPair(certPEM, keyPEM)
	err = errors.Join(err, err1, err2, err3,
		os.WriteFile(filepath.Join(dir, "ca.pem"), authorityPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "cert.pem"), certPEM, 0o600), os.WriteFile(filepath.Join(dir, "key.pem"), keyPEM, 0o600))
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorityPEM)
	return cert, roots
}
