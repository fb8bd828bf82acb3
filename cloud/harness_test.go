package cloud_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"telltale.dev/cloud"
	"telltale.dev/cloud/provisioning"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// patience is how long a test waits for what must come, also on a machine with much else to do.
const patience = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a running cloud on a real directory.
type stage struct {
	*cloud.Cloud
	t    testing.TB
	dir  string
	http *http.Client
	stop func() // ends Run and wants success
}

// config is what all tests run with.
func config(dir string) cloud.Config {
	return cloud.Config{
		Dir: dir, MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Version: "test", Dev: true,
		Flush: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
}

func start(t testing.TB, cfg cloud.Config) *stage {
	t.Helper()
	c, err := cloud.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	transport := &http.Transport{}
	s := &stage{Cloud: c, t: t, dir: cfg.Dir, http: &http.Client{Transport: transport}}
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("Run did not return; what all goroutines do:\n%s", goroutines())
		}
		transport.CloseIdleConnections()
	})
	t.Cleanup(s.stop)
	return s
}

// goroutines says what all goroutines do.
func goroutines() string {
	var text strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1)
	return text.String()
}

// get asks the API and decodes the answer; it gives the status.
func (s *stage) get(path string, answer any) int { return s.ask(http.MethodGet, path, answer) }

func (s *stage) ask(method, path string, answer any) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.HTTPAddr().String()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(body, answer); err != nil {
			s.t.Fatalf("%s: %v: %s", path, err, body)
		}
	}
	return resp.StatusCode
}

// eventually waits until check gives "".
func (s *stage) eventually(check func() string) {
	s.t.Helper()
	var problem string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if problem = check(); problem == "" {
			return
		}
	}
	s.t.Fatal(problem)
}

// watch follows the live events of a vehicle; lines come as they are.
func (s *stage) watch(vid string) <-chan string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr().String()+"/v1/vehicles/"+vid+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for in := bufio.NewScanner(resp.Body); in.Scan(); {
			lines <- in.Text()
		}
	}()
	return lines
}

// client is an MQTT client with what it received.
type client struct {
	*paho.Client
	t        testing.TB
	received chan *paho.Publish
	gone     chan byte // reason code of a DISCONNECT from the server
}

// dial connects over TLS with a certificate from the cloud's own authority, and
// gives the CONNACK's code when that is a refusal.
func (s *stage) dial(creds provisioning.Credentials, id string, change func(*paho.Connect)) (*client, byte) {
	s.t.Helper()
	cert, err := tls.X509KeyPair(creds.CertPEM, creds.KeyPEM)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(creds.CAPEM)
	conn, err := tls.Dial("tcp", s.MQTTAddr().String(), &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots})
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{t: s.t, received: make(chan *paho.Publish, 1000), gone: make(chan byte, 1)}
	c.Client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), // paho writes a packet in pieces, and its pinger between them
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.received <- p.Packet
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) { c.gone <- d.ReasonCode },
	})
	connect := &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true}
	if change != nil {
		change(connect)
	}
	ack, err := c.Connect(s.t.Context(), connect)
	if err != nil {
		if ack == nil {
			s.t.Fatal(err)
		}
		_ = conn.Close()
		return nil, ack.ReasonCode
	}
	s.t.Cleanup(c.leave)
	return c, 0
}

// leave disconnects and waits until nothing of the client runs.
func (c *client) leave() {
	_ = c.Disconnect(&paho.Disconnect{})
	<-c.Done()
}

// device connects a vehicle's device, with the will that an agent has.
func (s *stage) device(vid, did string) *client {
	s.t.Helper()
	c, code := s.tryDevice(vid, did)
	if code != 0 {
		s.t.Fatalf("%s: got CONNACK 0x%02X, want success", vid, code)
	}
	return c
}

func (s *stage) tryDevice(vid, did string) (*client, byte) {
	s.t.Helper()
	creds, err := s.authority().IssueDevice(protocol.VehicleID(vid), protocol.DeviceID(did), time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.dial(creds, did, func(c *paho.Connect) {
		c.WillMessage = &paho.WillMessage{Topic: "v1/" + vid + "/up/presence/" + did, QoS: 1, Retain: true, Payload: presence(s.t, did, protocol.PresenceLost)}
	})
}

func (s *stage) operator(name string) *client {
	s.t.Helper()
	creds, err := s.authority().IssueOperator(name, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	c, code := s.dial(creds, name, nil)
	if code != 0 {
		s.t.Fatalf("operator: got CONNACK 0x%02X, want success", code)
	}
	return c
}

func (s *stage) authority() *provisioning.CA {
	s.t.Helper()
	ca, err := provisioning.OpenCA(filepath.Join(s.dir, "ca"))
	if err != nil {
		s.t.Fatal(err)
	}
	return ca
}

func presence(t testing.TB, did string, state protocol.PresenceState) []byte {
	t.Helper()
	return marshal(t, protocol.Presence{Version: 1, State: state, Device: protocol.DeviceID(did), Boot: boot, Connection: 1, Agent: "test"})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := document.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// send publishes with QoS 1 and gives the PUBACK's reason code.
func (c *client) send(topic string, payload []byte, properties ...string) byte {
	c.t.Helper()
	p := &paho.Publish{Topic: topic, QoS: 1, Payload: payload, Properties: &paho.PublishProperties{}}
	for i := 0; i+1 < len(properties); i += 2 {
		p.Properties.User.Add(properties[i], properties[i+1])
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ack, err := c.Publish(ctx, p)
	if ack == nil {
		c.t.Fatalf("%s: %v", topic, err)
	}
	return ack.ReasonCode
}

// stored publishes and wants it stored.
func (c *client) stored(topic string, payload []byte, properties ...string) {
	c.t.Helper()
	if code := c.send(topic, payload, properties...); code != 0 {
		c.t.Fatalf("%s: got PUBACK 0x%02X, want 0", topic, code)
	}
}

func (c *client) subscribe(filter string) {
	c.t.Helper()
	_, err := c.Subscribe(c.t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if err != nil {
		c.t.Fatal(err)
	}
}

// next gives the next message within the time.
func (c *client) next(within time.Duration) *paho.Publish {
	c.t.Helper()
	select {
	case p := <-c.received:
		return p
	case <-time.After(within):
		c.t.Fatalf("no message within %v", within)
		return nil
	}
}

// until gives the first line that holds all the words.
func until(t testing.TB, lines <-chan string, words ...string) string {
	t.Helper()
	after := time.After(patience)
	for {
		select {
		case line, open := <-lines:
			if !open {
				t.Fatalf("the stream ended before %q", words)
			}
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return line
			}
		case <-after:
			t.Fatalf("no line with %q came", words)
		}
	}
}

// boot is the boot identifier of all test devices.
var boot = protocol.BootID{1, 2, 3, 4, 5, 6, 7, 8}

// telemetry is a schema with its topic, and batches of it.
type telemetry struct {
	t      testing.TB
	schema *schemas.Schema
	doc    []byte
	hash   protocol.SchemaHash
}

func newTelemetry(t testing.TB, campaign protocol.CampaignID) *telemetry {
	t.Helper()
	s := &schemas.Schema{
		Version: schemas.Version1, Campaign: campaign, Rule: "all", Tick: schemas.DefaultTick, Mode: protocol.ModeAll,
		Signals: []signal.Signal{
			{Name: "SPEED", Unit: "km/h", Message: "SPEED", Bus: "can0", CAN: &signal.Bits{ID: 0xb4, Start: 0, Length: 16}, Scale: "0.01"},
			{Name: "GEAR", Message: "SPEED", Bus: "can0", CAN: &signal.Bits{ID: 0xb4, Start: 16, Length: 4}, Values: map[int64]string{3: "D"}},
		},
		Groups: [][]uint32{{0, 1}},
	}
	doc, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &telemetry{t, s, doc, hash}
}

// batch gives a payload with one row: speed and gear at a time.
func (m *telemetry) batch(did string, seq uint64, at time.Time, speed, gear int64) []byte {
	m.t.Helper()
	e := batches.NewEncoder(m.schema, m.hash.ID())
	e.Add(0, at.UnixMicro(), []int64{speed, gear})
	data, err := e.Encode(batches.Header{ID: protocol.MessageID{Device: protocol.DeviceID(did), Boot: boot, Seq: seq}}, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return data
}

func (m *telemetry) schemaTopic(vid string) string {
	return fmt.Sprintf("v1/%s/up/schema/%s", vid, m.hash)
}

func (m *telemetry) topic(vid string) string {
	return fmt.Sprintf("v1/%s/up/telemetry/%s", vid, m.schema.Campaign)
}

// body asks the API and gives status and text.
func (s *stage) body(path string) (int, string) {
	s.t.Helper()
	resp, err := s.http.Get("http://" + s.HTTPAddr().String() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// What a person reads in the API's answers about vehicles and points.
type (
	vehicle struct {
		ID       string    `json:"vid"`
		State    string    `json:"state"`
		Since    time.Time `json:"registered"`
		Devices  []device  `json:"devices"`
		Signals  int       `json:"signals"`
		LastSeen string    `json:"last_sample"`
	}
	device struct {
		ID       string     `json:"did"`
		Presence string     `json:"presence"`
		Since    time.Time  `json:"since"`
		Wakes    *time.Time `json:"wakes"`
		Loss     *loss      `json:"data_lost"`
	}
	loss struct {
		Storage, Reason string
		Told            time.Time
		Over            *time.Time
	}
	point struct {
		Time  time.Time
		Value float64
	}
)
