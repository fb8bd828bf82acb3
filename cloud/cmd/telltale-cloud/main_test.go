package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary behave as the program itself.
const asProgram = "TELLTALE_CLOUD_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func program(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// refused runs the program and wants exit code 1 and one line.
func refused(t *testing.T, says string, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := program(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v: got %v, want exit code 1", args, err)
	}
	text := errs.String()
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "telltale-cloud: ") || !strings.Contains(text, says) || out.Len() > 0 {
		t.Errorf("%v: got %q and %q, want one line with %q", args, text, out.String(), says)
	}
}

// serve runs a cloud on free ports until the test ends; it gives its addresses.
func serve(t *testing.T, data string) (mqtt, api string, stop func() error) {
	t.Helper()
	cmd := program(t, "--data", data, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dev")
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
	if err := json.Unmarshal(line, &ports); err != nil || ports.Download == "" {
		t.Fatalf("%v: %s", err, line)
	}
	return ports.MQTT, ports.HTTP, func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}
}

func TestServe(t *testing.T) {
	data := t.TempDir()
	mqtt, api, stop := serve(t, data)
	resp, err := http.Get("http://" + api + "/v1/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("health: got %s, want 200", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()

	other := t.TempDir()
	refused(t, "is held by process", "--data", data, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	refused(t, "in use", "--data", other, "--mqtt", mqtt, "--http", "127.0.0.1:0")
	refused(t, "broker: ", "--data", other, "--mqtt", mqtt, "--http", "127.0.0.1:0", "--download", mqtt)
	refused(t, "in use", "--data", other, "--mqtt", "127.0.0.1:0", "--http", api)
	refused(t, "download: ", "--data", other, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--download", mqtt)

	began := time.Now()
	if err := stop(); err != nil || time.Since(began) > time.Minute {
		t.Errorf("SIGTERM: got %v after %v, want exit code 0 soon", err, time.Since(began))
	}
	if conn, err := net.Dial("tcp", mqtt); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

func TestRefusals(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(data, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(data, "old", "backbone", "VERSION")
	if err := os.MkdirAll(filepath.Dir(version), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(version, []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(data, "one.creds")
	if err := os.WriteFile(large, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ports := []string{"--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	for says, args := range map[string][]string{
		"not writable":            {"--data", filepath.Join(file, "x")},
		"version 99":              {"--data", filepath.Join(data, "old")},
		"nats server unreachable": {"--data", filepath.Join(data, "a"), "--nats", "nats://127.0.0.1:1"},
		"one.creds for the nats server: expected at most":       {"--data", filepath.Join(data, "a"), "--nats", "tls://127.0.0.1:1", "--nats-creds", large},
		"expected its URL beside them":                          {"--data", filepath.Join(data, "a"), "--nats-ca", file},
		"a certificate and its key":                             {"--data", filepath.Join(data, "a"), "--nats", "tls://127.0.0.1:1", "--nats-cert", file},
		"--keep: size":                                          {"--data", filepath.Join(data, "b"), "--keep", "much"},
		"--quota-bytes: size":                                   {"--data", filepath.Join(data, "c"), "--quota-bytes=-1"},
		"--keep: size \"5\": expected at least 1024 KiB":        {"--data", filepath.Join(data, "g"), "--keep", "5"},
		"--keep: size \"0\": expected at least 1024 KiB":        {"--data", filepath.Join(data, "g"), "--keep", "0"},
		"--keep: size \"1023KiB\": expected at least 1024 KiB":  {"--data", filepath.Join(data, "g"), "--keep", "1023KiB"},
		"--memory: size \"1MiB\": expected at least 65536 KiB":  {"--data", filepath.Join(data, "g"), "--memory", "1MiB"},
		"--quota-bytes: size \"1B\": expected at least 1 KiB":   {"--data", filepath.Join(data, "g"), "--quota-bytes", "1B"},
		"--max-update: size \"5KiB\": expected at least 64 KiB": {"--data", filepath.Join(data, "g"), "--max-update", "5KiB"},
		"flush: -1s: expected a time above zero":                {"--data", filepath.Join(data, "g"), "--flush=-1s"},
		"--max-update: size":                                    {"--data", filepath.Join(data, "e"), "--max-update", "large"},
		"--update-key: public key: expected a new one":          {"--data", filepath.Join(data, "f"), "--update-key", file},
		"expected a loopback address":                           {"--data", filepath.Join(data, "d"), "--mqtt", "127.0.0.1:0", "--http", ":0"},
	} {
		if len(args) < 5 {
			args = append(args, ports...)
		}
		refused(t, says, args...)
	}
}

// TestUsage: what is wrong with a command line is said in one line, not behind all flags.
func TestUsage(t *testing.T) {
	for says, args := range map[string][]string{
		"missing flags: --data=DIR":   {"run"},
		"unknown flag --dta":          {"run", "--dta", "x"},
		"--quota-messages: expected ": {"run", "--data", t.TempDir(), "--quota-messages", "few"},
	} {
		out, err := program(t, args...).CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "telltale-cloud: ") || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), says) {
			t.Errorf("%v: got %v and %s, want one line with %q", args, err, out, says)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	file := filepath.Join(t.TempDir(), "openapi.yaml")
	if text, err := program(t, "openapi", "--out", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := program(t, "openapi").Output()
	if err != nil || !bytes.Equal(got, printed) || !bytes.HasPrefix(got, []byte("components:")) {
		t.Errorf("got %v and %.40q, want the same on standard output and in the file", err, got)
	}
}

// TestDevCertMode: the private key is for its owner alone, also where another file of that name was open to all.
func TestDevCertMode(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "id", "tcu.key")
	for range 2 {
		if out, err := program(t, "dev-cert", "--data", filepath.Join(dir, "cloud"), "--out", filepath.Dir(key), "car", "tcu").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("got %v, %v, want mode 0600", info.Mode(), err)
		}
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExitCodes: a wrong command line ends with 2 and one line, as in all programs; --version is known.
func TestExitCodes(t *testing.T) {
	out, err := program(t, "--nonsense").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || string(out) != "telltale-cloud: unknown flag --nonsense; --help shows how\n" {
		t.Errorf("got %v and %q, want exit code 2 and one line", err, out)
	}
	if out, err := program(t, "--version").CombinedOutput(); err != nil || len(out) == 0 {
		t.Errorf("got %v and %q, want the version", err, out)
	}
	dir := t.TempDir()
	for _, names := range [][]string{{"alice"}, {"anna", "tcu-a"}} { // one name is an operator, two are a device
		args := append([]string{"dev-cert", "--data", dir, "--out", dir}, names...)
		if out, err := program(t, args...).CombinedOutput(); err != nil {
			t.Errorf("%v: got %v and %s", args, err, out)
		}
	}
}

// TestDownloadPort: an error about a port that no flag names says where it comes from.
func TestDownloadPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	before := fmt.Sprintf("127.0.0.1:%d", port-1)
	if free, err := net.Listen("tcp", before); err != nil {
		t.Skipf("the port before is taken: %v", err)
	} else {
		free.Close()
	}
	refused(t, fmt.Sprintf("address already in use; 127.0.0.1:%d is the port for MQTT plus 1: choose another one with --download HOST:PORT, or none", port),
		"--data", t.TempDir(), "--mqtt", before, "--http", "127.0.0.1:0")
}
