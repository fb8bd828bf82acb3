package link_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
)

// mosquitto runs the real broker with TLS and client certificates, and gives its address.
func mosquitto(t *testing.T, ca *authority) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !exists(path) {
			if os.Getenv("CI") == "true" {
				t.Fatal("mosquitto is not installed; CI needs it")
			}
			t.Skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
		}
	}
	dir, err := os.MkdirTemp("", "mosquitto") // not t.TempDir: mosquitto, as root, drops to another user who must read it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	caFile, _ := write(t, dir, "ca", tls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key})
	certFile, keyFile := write(t, dir, "server", ca.leaf(-day, day))
	addr := freePort(t)
	_, port, _ := net.SplitHostPort(addr)
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\ncafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\nuse_identity_as_username false\npersistence false\n",
		port, caFile, certFile, keyFile)
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var out logs
	cmd := exec.Command(path, "-c", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("mosquitto:\n%s", out.buf.String())
		}
	})
	eventually(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// observer is another client of the broker.
type observer struct {
	*paho.Client
	mu  sync.Mutex
	got []*paho.Publish
}

func observe(t *testing.T, addr string, ca *authority, filter string) *observer {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.leaf(-day, day)}})
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{}
	o.Client = paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.got = append(o.got, p.Packet)
			return true, nil
		},
	}})
	if _, err := o.Connect(t.Context(), &paho.Connect{ClientID: "observer", CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Disconnect(&paho.Disconnect{}) })
	return o
}

// payloads of publishes to topics that contain part.
func (o *observer) payloads(part string) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list [][]byte
	for _, p := range o.got {
		if strings.Contains(p.Topic, part) {
			list = append(list, p.Payload)
		}
	}
	return list
}

func (o *observer) states(t *testing.T) []string {
	var list []string
	for _, payload := range o.payloads("/presence/") {
		p := parsePresence(t, payload)
		list = append(list, fmt.Sprint(p.State, p.Connection))
	}
	return list
}

func TestPlainMosquitto(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	addr := mosquitto(t, ca)
	tunnel := newProxy(t, addr)
	o := observe(t, addr, ca, "v1/#")
	buf, docs := newMemory(), schemas{}
	hash := docs.put("schema")
	const records = 300
	for i := range records {
		buf.add(buffer.Record{Schema: hash, Payload: fmt.Appendf(nil, "r-%d", i), Topic: fmt.Sprintf("v1/veh-1/up/telemetry/c%d", i%20), Created: time.Now(), TTL: time.Hour})
	}
	applied := make(chan string, 4)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints, c.KeepAlive, c.Schemas = []string{"mqtts://" + tunnel.addr}, time.Second, docs
		c.Timeout = 500 * time.Millisecond
		c.WillDelay = time.Nanosecond // a second on the wire
		c.TLS = &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.leaf(-day, day)}}
		takes(t, c, func(m downlink.Message) { applied <- m.Topic.Name + "=" + string(m.Payload) })
	})
	eventually(t, "all acknowledged", func() bool { return buf.left() == 0 })
	eventually(t, "all arrive", func() bool { return len(o.payloads("/telemetry/")) == records })
	if n := r.log.count("guarantee ends"); n != 1 || r.Stats().Guarantee != "" {
		t.Errorf("warnings about the guarantee: got %d, want 1; stats say %q", n, r.Stats().Guarantee)
	}
	if n := len(o.payloads("/up/schema/" + hash.String())); n != 1 {
		t.Errorf("schema documents: got %d, want 1", n)
	}
	doc := &paho.Publish{Topic: "v1/veh-1/down/config/campaigns", QoS: 1, Retain: true, Payload: []byte("doc")}
	if _, err := o.Publish(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	expect(t, applied, "campaigns=doc")

	tunnel.strand() // the broker sends the will, and we notice the silence
	eventually(t, "will", func() bool { return slices.Contains(o.states(t), "lost1") })
	eventually(t, "loss is noticed", func() bool { return r.Stats().Losses == 1 })
	buf.add(numbered("late", 20, protocol.CS3)...)
	tunnel.frozen.Store(false)
	eventually(t, "all acknowledged after the tunnel", func() bool { return buf.left() == 0 })
	expect(t, applied, "campaigns=doc") // retained: again at each subscription
	r.stop()
	eventually(t, "offline", func() bool {
		states := o.states(t)
		return strings.HasPrefix(states[len(states)-1], "offline")
	})
	time.Sleep(1100 * time.Millisecond) // longer than the will delay
	if states := o.states(t); !strings.HasPrefix(states[len(states)-1], "offline") {
		t.Errorf("presence: got %v, want no will after offline", states)
	}
}

func expect(t *testing.T, documents <-chan string, want string) {
	t.Helper()
	select {
	case got := <-documents:
		if got != want {
			t.Errorf("document: got %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Error("the document does not arrive")
	}
}

// Mosquitto names no authorities, so our certificate is sent, and refused after the handshake.
func TestMosquittoRefusesForeignCertificates(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	addr := mosquitto(t, ca)
	r := start(t, newMemory(), func(c *link.Config) {
		c.Endpoints = []string{addr}
		c.TLS = &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{foreign.leaf(-day, day)}}
	})
	eventually(t, "third attempt", func() bool { return r.Stats().Connection >= 3 })
	if got := r.Stats().LastError; !strings.Contains(got, "our certificate was refused by the server") {
		t.Errorf("last error: got %q", got)
	}
}
