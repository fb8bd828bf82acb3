package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/provisioning"
	"telltale.dev/protocol"
)

// fewFiles runs the program with a limit of open files. The superuser's may raise it again, which is right too.
func fewFiles(t testing.TB, limit int, args ...string) *exec.Cmd {
	t.Helper()
	cmd := program(t, args...)
	shell := exec.Command("sh", append([]string{"-c", "ulimit -n " + strconv.Itoa(limit) + ` && exec "$0" "$@"`}, cmd.Args...)...)
	shell.Env = cmd.Env
	return shell
}

// besieged is a cloud with few file descriptors.
type besieged struct {
	t                   testing.TB
	mqtt, api, download string
	authority           *provisioning.CA
	log                 *bytes.Buffer // read it after stop
	stop                func()
}

func besiege(t testing.TB, limit int) *besieged {
	t.Helper()
	data := t.TempDir()
	cmd := fewFiles(t, limit, "--data", data, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--download", "127.0.0.1:0", "--dev")
	b := &besieged{t: t, log: &bytes.Buffer{}}
	cmd.Stderr = b.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ports struct{ MQTT, HTTP, Download string }
	if err := json.Unmarshal(line, &ports); err != nil {
		t.Fatal(err)
	}
	b.mqtt, b.api, b.download = ports.MQTT, ports.HTTP, ports.Download
	if b.authority, err = provisioning.OpenCA(filepath.Join(data, "ca")); err != nil {
		t.Fatal(err)
	}
	b.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the cloud ended with %v", err)
		}
	}
	return b
}

// tls gives a vehicle's configuration.
func (b *besieged) tls(vid string) *tls.Config {
	b.t.Helper()
	creds, err := b.authority.IssueDevice(protocol.VehicleID("car-"+vid), "tcu", time.Hour)
	if err != nil {
		b.t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(creds.CertPEM, creds.KeyPEM)
	if err != nil {
		b.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(creds.CAPEM)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "localhost"}
}

// dialFrom dials from a loopback address.
func dialFrom(local string) *net.Dialer {
	return &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
}

// silent opens connections that say nothing; they are closed at the end of the test.
func (b *besieged) silent(from, to string, n int) {
	b.t.Helper()
	var work sync.WaitGroup
	var mu sync.Mutex
	var all []net.Conn
	for range 8 {
		work.Go(func() {
			for range n / 8 {
				if conn, err := dialFrom(from).Dial("tcp", to); err == nil {
					mu.Lock()
					all = append(all, conn)
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	b.t.Cleanup(func() {
		for _, conn := range all {
			conn.Close()
		}
	})
}

// connect brings a vehicle to an accepted CONNECT.
func (b *besieged) connect(from, vid string) (*tls.Conn, error) {
	conn, err := tls.DialWithDialer(dialFrom(from), "tcp", b.mqtt, b.tls(vid))
	if err != nil {
		return nil, err
	}
	b.t.Cleanup(func() { conn.Close() })
	hello := packets.NewControlPacket(packets.CONNECT)
	hello.Content.(*packets.Connect).ClientID = "tcu"
	hello.Content.(*packets.Connect).KeepAlive = 60
	return conn, ask(conn, hello, packets.CONNACK)
}

// ask sends a packet and wants an answer of a kind, which does not refuse.
func ask(conn net.Conn, what *packets.ControlPacket, kind byte) error {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := what.WriteTo(conn); err != nil {
		return err
	}
	got, err := packets.ReadPacket(conn)
	if err != nil {
		return err
	}
	if ack, ok := got.Content.(*packets.Connack); got.Type != kind || ok && ack.ReasonCode != 0 {
		return errors.New("got " + got.String())
	}
	return nil
}

// serves wants that vehicles connect, downloads are answered, and the API tells that all is well.
func (b *besieged) serves(when, from, vid string, connected net.Conn) {
	b.t.Helper()
	if _, err := b.connect(from, vid); err != nil {
		b.t.Errorf("%s: a vehicle that connects: %v", when, err)
	}
	if connected != nil {
		if err := ask(connected, packets.NewControlPacket(packets.PINGREQ), packets.PINGRESP); err != nil {
			b.t.Errorf("%s: the vehicle connected before: %v", when, err)
		}
	}
	transport := &http.Transport{TLSClientConfig: b.tls(vid), DialContext: dialFrom(from).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for url, want := range map[string]int{
		"https://" + b.download + "/v1/files/" + strings.Repeat("00", 32): http.StatusForbidden,
		"http://" + b.api + "/v1/health":                                  http.StatusOK,
	} {
		resp, err := client.Get(url)
		if err != nil {
			b.t.Errorf("%s: %v", when, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			b.t.Errorf("%s: %s: got %s %s, want %d", when, url, resp.Status, body, want)
		}
	}
}

// TestStrangersTakeNothing: silent connections on every port, more than there are file descriptors, neither end the cloud
// nor keep anybody out, from their own address or another one.
func TestStrangersTakeNothing(t *testing.T) {
	b := besiege(t, 1024)
	first, err := b.connect("127.0.0.1", "first")
	if err != nil {
		t.Fatal(err)
	}
	b.serves("before", "127.0.0.1", "before", first)
	for _, port := range []string{b.mqtt, b.download, b.api} {
		b.silent("127.0.0.2", port, 600)
		b.silent("127.0.0.3", port, 200)
	}
	b.serves("meanwhile", "127.0.0.1", "meanwhile", first)
	b.serves("meanwhile, from the strangers' address", "127.0.0.2", "beside", first)
	b.silent("127.0.0.2", b.download, 600)
	b.serves("meanwhile, again", "127.0.0.1", "again", first)
	b.stop()
	if log := b.log.String(); strings.Contains(log, "level=ERROR") || strings.Count(log, "fewer connections are taken") > 1 {
		t.Errorf("got %s, want no error and at most one line about the limit", log)
	}
}

// BenchmarkStrangers: silent connections from one address, more than there are file descriptors, on every
// port; and as many from each of four addresses as one may have. Vehicles that connect meanwhile are told how long it took.
func BenchmarkStrangers(b *testing.B) {
	const files = 4096
	for _, c := range []struct {
		name      string
		addresses int
		each      int
	}{{"one address", 1, files + 200}, {"four addresses", 4, 1024}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				s := besiege(b, files)
				first, err := s.connect("127.0.0.1", "first")
				if err != nil {
					b.Fatal(err)
				}
				for _, port := range []string{s.mqtt, s.download, s.api} {
					for n := range c.addresses {
						s.silent(fmt.Sprintf("127.0.0.%d", n+2), port, c.each)
					}
				}
				const vehicles = 25
				connected, worst := 0, time.Duration(0)
				for n := range vehicles {
					began := time.Now()
					if _, err := s.connect("127.0.0.1", fmt.Sprint(n)); err == nil {
						connected, worst = connected+1, max(worst, time.Since(began))
					}
				}
				s.serves("meanwhile", "127.0.0.2", "beside", first)
				s.stop()
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(connected)/vehicles, "connected")
				b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
			}
		})
	}
}

// TestTooFewFiles: a limit that is no use is said in one line.
func TestTooFewFiles(t *testing.T) {
	cmd := fewFiles(t, 300, "--data", t.TempDir(), "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // where the limit could be raised it runs
	out, err := cmd.CombinedOutput()
	if err != nil && (!strings.Contains(string(out), "the limit of open files is 300, expected at least ") || strings.Count(string(out), "\n") != 1) {
		t.Errorf("got %v and %s, want one line that says which limit is needed", err, out)
	}
}
