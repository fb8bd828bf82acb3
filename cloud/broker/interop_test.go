package broker_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/cloud/broker"
)

// mosquitto finds the clients of the Debian package mosquitto-clients.
func mosquitto(t *testing.T) {
	t.Helper()
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed (Debian: mosquitto-clients)", name)
			}
			t.Skipf("%s is not installed (Debian: mosquitto-clients)", name)
		}
	}
}

// mosquittoFlags writes the credentials to files and gives the flags that use them.
func (s *stage) mosquittoFlags(uri string) []string {
	s.t.Helper()
	dir := s.t.TempDir()
	pair := s.ca.issue(uri)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		s.t.Fatal(err)
	}
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return path
	}
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return []string{
		"-h", "127.0.0.1", "-p", port,
		"--cafile", write("ca.pem", "CERTIFICATE", s.ca.cert.Raw),
		"--cert", write("cert.pem", "CERTIFICATE", pair.Certificate[0]),
		"--key", write("key.pem", "PRIVATE KEY", der),
	}
}

// echo is a handler that delivers what is published.
func echo(t *testing.T) (*stage, *cloud) {
	handler := &cloud{}
	s := start(t, handler, nil)
	handler.publish = func(p broker.Publish, done func(byte)) {
		s.Deliver(broker.Message{
			Topic: p.Topic.String(), Payload: p.Payload, QoS: 1, Retain: p.Retain,
			ContentType: p.ContentType, User: p.User, Expiry: p.Expiry,
		})
		done(0)
	}
	return s, handler
}

func TestMosquittoClients(t *testing.T) {
	mosquitto(t)
	for _, version := range []string{"5", "311"} {
		for _, qos := range []string{"0", "1"} {
			t.Run("version "+version+" QoS "+qos, func(t *testing.T) {
				s, _ := echo(t)
				flags := s.mosquittoFlags("urn:ops:anna")
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				sub := exec.CommandContext(ctx, "mosquitto_sub", append(flags, "-V", version, "-q", qos, "-C", "2", "-v", "-t", "v1/ops/#")...)
				out, err := sub.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := sub.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "subscribed", func() bool { return s.Subscriptions() == 1 })
				for _, payload := range []string{"one", "two"} {
					args := append(flags, "-V", version, "-q", qos, "-t", "v1/ops/config/campaign/c", "-m", payload)
					if text, err := exec.CommandContext(ctx, "mosquitto_pub", args...).CombinedOutput(); err != nil {
						t.Fatalf("mosquitto_pub: %v: %s", err, text)
					}
				}
				lines := bufio.NewScanner(out)
				for _, want := range []string{"v1/ops/config/campaign/c one", "v1/ops/config/campaign/c two"} {
					if !lines.Scan() || lines.Text() != want {
						t.Errorf("got %q, want %q", lines.Text(), want)
					}
				}
				if err := sub.Wait(); err != nil {
					t.Errorf("mosquitto_sub: %v", err)
				}
			})
		}
	}
}

func TestMosquittoIsTold(t *testing.T) {
	mosquitto(t)
	s, _ := echo(t)
	for name, c := range map[string]struct {
		uri  string
		args []string
		want string
	}{
		"publish":   {"urn:ops:anna", []string{"-V", "5", "-q", "1", "-t", "v1/v/up/telemetry/c", "-m", "x"}, "Not authorized"},
		"QoS 2":     {"urn:ops:anna", []string{"-V", "5", "-q", "2", "-t", "v1/ops/config/campaign/c", "-m", "x"}, ""},
		"client id": {"urn:dev:v:d", []string{"-V", "5", "-i", "other", "-q", "1", "-t", "v1/v/up/telemetry/c", "-m", "x"}, "Client identifier"},
	} {
		args := append(s.mosquittoFlags(c.uri), c.args...)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		text, err := exec.CommandContext(ctx, "mosquitto_pub", args...).CombinedOutput()
		cancel()
		if !strings.Contains(strings.ToLower(string(text)), strings.ToLower(c.want)) {
			t.Errorf("%s: got %q (%v), want %q", name, text, err, c.want)
		}
	}
}

// TestPahoClient drives the library that vehicles use: concurrent publishes, manual
// acknowledgement, a session that is resumed.
func TestPahoClient(t *testing.T) {
	s, _ := echo(t)
	config := s.ca.client("urn:ops:anna")
	received := make(chan string, 200)
	client := s.paho(config, received)
	publisher := s.paho(s.ca.client("urn:ops:ben"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "v1/ops/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		payload := string(rune('a' + i%26))
		ack, err := publisher.Publish(ctx, &paho.Publish{Topic: "v1/ops/config/campaign/c", QoS: 1, Payload: []byte(payload)})
		if err != nil || ack.ReasonCode != 0 {
			t.Fatalf("publish %d: %v, %v", i, ack, err)
		}
		if got := <-received; got != payload {
			t.Fatalf("message %d: got %q, want %q", i, got, payload)
		}
	}
	ack, err := publisher.Publish(ctx, &paho.Publish{Topic: "v1/v/up/telemetry/c", QoS: 1})
	if err == nil || ack == nil || ack.ReasonCode != 0x87 {
		t.Errorf("foreign topic: got %v, %v, want 0x87", ack, err)
	}
	for _, c := range []*paho.Client{client, publisher} {
		if err := c.Disconnect(&paho.Disconnect{}); err != nil {
			t.Error(err)
		}
		<-c.Done()
	}
}

func (s *stage) paho(config *tls.Config, received chan<- string) *paho.Client {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.Addr().String(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	var client *paho.Client
	client = paho.NewClient(paho.ClientConfig{
		Conn: conn, EnableManualAcknowledgment: true, SendAcksInterval: 10 * time.Millisecond,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			received <- string(p.Packet.Payload)
			return true, client.Ack(p.Packet)
		}},
	})
	ack, err := client.Connect(context.Background(), &paho.Connect{
		ClientID: "console", KeepAlive: 30, CleanStart: true,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: ptr(uint32(30)), ReceiveMaximum: ptr(uint16(16))},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if got := ack.Properties.User.Get("guarantee"); got != "stored" {
		s.t.Errorf("guarantee: got %q, want stored", got)
	}
	return client
}
