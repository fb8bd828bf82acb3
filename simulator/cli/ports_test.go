package cli

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"telltale.dev/protocol/updates"
)

// freePair gives two addresses with adjacent free ports.
func freePair(t *testing.T) (first, next string) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first, next = l.Addr().String(), updates.DownloadEndpoint(l.Addr().String())
		after, err := net.Listen("tcp", next)
		l.Close()
		if err == nil {
			after.Close()
			return first, next
		}
	}
	t.Fatal("found no two ports in a row")
	return "", ""
}

// TestPorts wants the flags named that are to be changed, and nothing kept open.
func TestPorts(t *testing.T) {
	mqtt, next := freePair(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	before := "127.0.0.1:" + strconv.Itoa(taken.Addr().(*net.TCPAddr).Port-1)
	port := next[strings.LastIndexByte(next, ':')+1:]
	for _, c := range []struct{ mqtt, http, download, want string }{
		{mqtt, "127.0.0.1:0", "", ""},
		{mqtt, next, "127.0.0.1:0", ""},
		{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", ""},
		{"localhost:0", "[::1]:0", "", ""},
		{mqtt, next, "", "--http " + next + ": devices fetch update files from port " + port + ", the one after --mqtt's: expected another port, or --download ADDR for them"},
		{mqtt, next, next, "--http and --download: both are port " + port + ": expected different ones"},
		{next, next, "", "--mqtt and --http: both are port " + port + ": expected different ones"},
		{next, mqtt, next, "--mqtt and --download: both are port " + port + ": expected different ones"},
		{busy, "127.0.0.1:0", "", "--mqtt " + busy + ": address already in use: expected HOST:PORT that is free on this machine"},
		{mqtt, busy, "", "--http " + busy + ": address already in use: "},
		{mqtt, "127.0.0.1:0", busy, "--download " + busy + ": address already in use: "},
		{before, "127.0.0.1:0", "", busy + ", the port after --mqtt's, for update files: address already in use: expected one that is free, chosen by --download ADDR"},
		{"8883", "127.0.0.1:0", "", "--mqtt 8883: address 8883: missing port in address: "},
		{mqtt, "127.0.0.1:http!", "", "--http 127.0.0.1:http!: "},
		{mqtt, "127.0.0.1:0", "none", "--download none: address none: missing port in address: "},
		{"127.0.0.1:70000", "127.0.0.1:0", "", "--mqtt 127.0.0.1:70000: address 70000: invalid port: "},
	} {
		err := checkPorts(c.mqtt, c.http, c.download)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	if l, err := net.Listen("tcp", mqtt); err != nil {
		t.Errorf("got %v, want the port given back", err)
	} else {
		l.Close()
	}
}
