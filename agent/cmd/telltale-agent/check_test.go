package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/document"
)

// broker answers each CONNECT with a code, over TLS with certificates of both sides.
func broker(t *testing.T, id identity, code byte) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{id.ca.Server(t, "localhost")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: id.ca.Pool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := packets.ReadPacket(conn); err == nil {
				_, _ = (&packets.Connack{ReasonCode: code, Properties: &packets.Properties{}}).WriteTo(conn)
				_, _ = packets.ReadPacket(conn) // DISCONNECT
			}
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "localhost:" + port
}

// findings is the report as JSON.
type findings struct {
	OK    bool
	Lines []struct{ Area, Level, Text, Hint string }
}

// checked runs the check and gives its findings.
func checked(t *testing.T, args ...string) findings {
	t.Helper()
	cmd := exec.Command("telltale-agent", append([]string{"check", "--json", "--while", "100ms", "--timeout", "1s"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var f findings
	if jsonErr := json.Unmarshal(out.Bytes(), &f); jsonErr != nil {
		t.Fatalf("%v: %v\n%s%s", args, jsonErr, &out, &errs)
	}
	if f.OK != (err == nil) || (err != nil) != strings.Contains(errs.String(), " checks say FAIL\n") {
		t.Errorf("ok %v, but it ended with %v and said %q", f.OK, err, &errs)
	}
	return f
}

// want looks for a line.
func (f findings) want(t *testing.T, area, level, text string) {
	t.Helper()
	for _, l := range f.Lines {
		if strings.HasPrefix(l.Area, area) && l.Level == level && strings.Contains(l.Text+" → "+l.Hint, text) {
			if level != "OK" && l.Hint == "" && area != "cloud" {
				t.Errorf("%s: no hint", l.Text)
			}
			return
		}
	}
	t.Errorf("got %+v, want %s %s: %s", f.Lines, level, area, text)
}

// startHub is a virtual bus can0 until the test ends.
func startHub(t *testing.T) *virtual.Hub {
	t.Helper()
	hub, err := virtual.Listen("127.0.0.1:0", virtual.Config{Buses: []string{"can0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = hub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return hub
}

// exposedKey copies the key to where everybody can read it.
func exposedKey(t *testing.T, id identity) string {
	t.Helper()
	text, err := os.ReadFile(id.path("device.key"))
	if err != nil {
		t.Fatal(err)
	}
	path := written(t, string(text))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRunRefusesExposedKey: the agent does not start, and says how to put it right.
func TestRunRefusesExposedKey(t *testing.T) {
	id, hub := newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)), startHub(t)
	cmd := exec.Command("telltale-agent", append(append([]string{
		"run", "--data", t.TempDir(), "--can", "can0=" + hub.URL("can0"), "--endpoint", "127.0.0.1:1",
	}, id.flags()...), "--key", exposedKey(t, id))...)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "chmod o-rwx it") || !strings.Contains(string(out), "found 0644") {
		t.Errorf("got %v: %s", err, out)
	}
}

// TestCheck: a device that is well, and each fault alone.
func TestCheck(t *testing.T) {
	id := newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(80*24*time.Hour))
	hub := startHub(t)
	dbc, err := filepath.Abs("../../../simulator/recordings/toyota_new_mc_pt.dbc")
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	good := broker(t, id, 0)
	old := newIdentity(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	stranger := newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	exposed := exposedKey(t, id)
	flags := func(change ...string) []string {
		args := append([]string{"--data", t.TempDir(), "--can", "can0=" + hub.URL("can0"), "--dbc", "can0=" + dbc, "--endpoint", good}, id.flags()...)
		return append(args, change...)
	}
	replaced := func(old, new string) []string {
		args := flags()
		args[slices.Index(args, old)+1] = new
		return args
	}
	for _, test := range []struct {
		name              string
		args              []string
		area, level, text string
		ok                bool
	}{
		{"well", flags(), "cloud localhost", "OK", "TLS 1.3", true},
		{"settings", flags(), "settings", "OK", "no campaign: nothing is collected until the cloud pushes one", true},
		{"silent bus", flags(), "bus can0", "WARN", "is the ignition on", true},
		{"no bus", replaced("--can", "can0=virtual://127.0.0.1:1/can0"), "bus can0", "FAIL", "nothing listens there", false},
		{"no interface", replaced("--can", "can0=nocan7"), "bus can0", "FAIL", "can interface nocan7", false},
		{"bus URL", replaced("--can", "can0=virtual:nonsense"), "settings", "FAIL", "virtual bus", false},
		{"value", flags("--window", "0"), "settings", "FAIL", "--window: expected 1 to 64", false},
		{"DBC file", flags("--dbc", "can0=/none.dbc"), "settings", "FAIL", "/none.dbc", false},
		{"campaign", flags("--campaign", "/none.yaml"), "settings", "FAIL", "/none.yaml", false},
		{"campaign of another vehicle", flags("--campaign", written(t, "apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: c, revision: 1}\nspec:\n  signals: {s: {path: can0.NONE.*}}\n  collect: [{id: r, signals: [s]}]\n  priority: CS1\n")), "settings", "FAIL", "campaign c: spec.signals.s.path: no signal of this vehicle matches can0.NONE.*", false},
		{"DBC file is a pipe", flags("--dbc", "can0="+pipe), "settings", "FAIL", "expected a regular file", false},
		{"campaign is a pipe", flags("--campaign", pipe), "settings", "FAIL", "expected a regular file", false},
		{"campaign too large", flags("--campaign", written(t, strings.Repeat("#", document.MaxInline+1))), "settings", "FAIL", "expected at most 8192 bytes", false},
		{"no key", replaced("--key", id.path("none.key")), "key store", "FAIL", "none.key: no such file", false},
		{"no key, and where it was looked for", replaced("--key", "/none/here/none.key"), "key store", "FAIL", "(--key, in /none/here)", false},
		{"no authority", replaced("--ca", "/none/here/ca.crt"), "key store", "FAIL", "(--ca, in /none/here)", false},
		{"endpoint without a port", replaced("--endpoint", "cloud.example"), "settings", "FAIL", "--endpoint cloud.example: expected HOST:PORT", false},
		{"endpoint with a scheme", replaced("--endpoint", "mqtts://cloud.example:8883"), "settings", "FAIL", "expected HOST:PORT without a scheme", false},
		{"endpoint with a path", replaced("--endpoint", "cloud.example/x:8883"), "settings", "FAIL", "expected HOST:PORT without a scheme", false},
		{"endpoint with port 0", replaced("--endpoint", "cloud.example:0"), "settings", "FAIL", "expected HOST:PORT", false},
		{"exposed key", replaced("--key", exposed), "key store", "FAIL", "others on this machine can read the private key", false},
		{"exposed key, allowed", append(replaced("--key", exposed), "--key-users=all"), "key store", "WARN", "others on this machine can read the key", true},
		{"wrong key", replaced("--key", stranger.path("device.key")), "key store", "FAIL", "do not belong together", false},
		{"certificate ended", append(flags(), old.flags()...), "certificate", "FAIL", "renew it", false},
		{"other authority", replaced("--ca", stranger.path("ca.crt")), "issuer", "WARN", "not the authority that is trusted", false},
		{"server of another authority", replaced("--ca", stranger.path("ca.crt")), "cloud", "FAIL", "from an unknown authority", false},
		{"not registered", replaced("--endpoint", broker(t, id, 0x87)), "cloud", "FAIL", "server refuses: not authorised", false},
		{"certificate refused", replaced("--endpoint", broker(t, stranger, 0)), "cloud", "FAIL", "authority", false},
		{"no cloud", replaced("--endpoint", "127.0.0.1:1"), "cloud", "FAIL", "connection refused", false},
		{"no name", replaced("--endpoint", "no-such-host.invalid:8883"), "cloud", "FAIL", "name is not resolved", false},
		{"data is a file", replaced("--data", dbc), "disk", "FAIL", "is a file", false},
		{"no disk", replaced("--data", "/none/none"), "disk", "FAIL", "not writable", false},
		{"ignition", flags("--power-ignition", "file:/none"), "ignition", "FAIL", "none: no such file", false},
		{"ignition URL", flags("--power-ignition", "pin:7"), "ignition", "FAIL", "expected file:FILE", false},
		{"network file", flags("--network", "file:/none"), "network", "FAIL", "none: no such file", false},
		{"network URL", flags("--network", "wifi"), "network", "FAIL", "expected routes, file:FILE or none", false},
		{"slots", flags("--slots", "floppy"), "slots", "FAIL", "", false},
		{"update keys", flags("--slots", "uboot:state=s,a=a,b=b", "--update-keys", "/none"), "update keys", "FAIL", "expected at least one public key", false},
		{"buffer", flags(), "buffer", "OK", "none yet", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := checked(t, test.args...)
			if f.OK != test.ok {
				t.Errorf("ok: got %v, want %v: %+v", f.OK, test.ok, f.Lines)
			}
			f.want(t, test.area, test.level, test.text)
		})
	}
}

// TestCheckOfWaking: a clock without an alarm is told where an alarm is to wake the machine.
func TestCheckOfWaking(t *testing.T) {
	if _, err := os.Stat(wakeAlarm); err == nil {
		t.Skip("this machine's clock has an alarm")
	}
	id := newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	ignition := written(t, "on")
	flags := append([]string{
		"--data", t.TempDir(), "--can", "can0=virtual://127.0.0.1:1/can0", "--endpoint", "127.0.0.1:1", "--power-ignition", "file:" + ignition, "--power-after", "stop",
	}, id.flags()...)
	checked(t, flags...).want(t, "ignition", "OK", "on")
	checked(t, append(flags, "--power-wake-after", "1h")...).want(t, "ignition", "WARN", "the clock's alarm cannot be set")
}
