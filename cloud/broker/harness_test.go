package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"
	"go.uber.org/goleak"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"

	"telltale.dev/protocol/principal"
)

// patience is how long a test waits for what must come; quiet how long for what must not.
const (
	patience = time.Minute
	quiet    = 150 * time.Millisecond
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues certificates with URIs like those of cloud/provisioning.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, cert: cert, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) issue(uri string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if uri != "" {
		parsed, err := url.Parse(uri)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = []*url.URL{parsed}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) server() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{a.issue("")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
	}
}

func (a *authority) client(uri string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(uri)}, RootCAs: a.pool, ServerName: "localhost"}
}

// identify reads the name in a certificate.
func identify(cert *x509.Certificate) (principal.Principal, error) {
	if len(cert.URIs) != 1 {
		return principal.Principal{}, errors.New("no identity")
	}
	return principal.Parse(cert.URIs[0].String())
}

// presenceCall is one call of Handler.Presence.
type presenceCall struct {
	client   broker.Client
	presence protocol.Presence
}

// cloud is a Handler whose parts a test replaces. The zero value accepts everything.
type cloud struct {
	connect  func(broker.Client) error
	publish  func(broker.Publish, func(byte))
	retained func(string) []broker.Message

	presences chan presenceCall
	stage     *stage // set by presenceStage
	clean     bool   // clean start of presenceStage's connections

	mu        sync.Mutex
	published []broker.Publish
}

func (c *cloud) Connect(client broker.Client) error {
	if c.connect == nil {
		return nil
	}
	return c.connect(client)
}

func (c *cloud) Publish(p broker.Publish, done func(byte)) {
	c.mu.Lock()
	c.published = append(c.published, p)
	c.mu.Unlock()
	if c.publish == nil {
		done(0)
		return
	}
	c.publish(p, done)
}

func (c *cloud) Presence(p broker.Publish, said protocol.Presence) {
	if c.presences != nil {
		c.presences <- presenceCall{p.Client, said}
	}
}

func (c *cloud) Retained(filter string) []broker.Message {
	if c.retained == nil {
		return nil
	}
	return c.retained(filter)
}

func (c *cloud) all() []broker.Publish {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]broker.Publish(nil), c.published...)
}

// stage is a running broker with its authority.
type stage struct {
	*broker.Broker
	t    testing.TB
	ca   *authority
	stop func() // ends Run
}

func start(t testing.TB, handler broker.Handler, change func(*broker.Config)) *stage {
	t.Helper()
	ca := newAuthority(t)
	cfg := broker.Config{Listen: "127.0.0.1:0", TLS: ca.server(), Identify: identify, Handler: handler}
	if change != nil {
		change(&cfg)
	}
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(stop)
	return &stage{Broker: b, t: t, ca: ca, stop: stop}
}

// raw is a client that speaks single packets.
type raw struct {
	*tls.Conn
	t  testing.TB
	in *bufio.Reader
}

func newRaw(conn *tls.Conn, t testing.TB) *raw { return &raw{conn, t, bufio.NewReader(conn)} }

func (s *stage) dial(config *tls.Config) *raw {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.Addr().String(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.NetConn().Close() })
	return newRaw(conn, s.t)
}

// connectPacket is the CONNECT of an MQTT 5 client.
func connectPacket(id string, change func(*paho.Connect)) *paho.Connect {
	c := &paho.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: id, KeepAlive: 60, CleanStart: true,
		Properties: &paho.Properties{}, WillProperties: &paho.Properties{},
	}
	if change != nil {
		change(c)
	}
	return c
}

// join dials, connects and wants success.
func (s *stage) join(config *tls.Config, c *paho.Connect) (*raw, *paho.Connack) {
	s.t.Helper()
	r := s.dial(config)
	r.send(paho.CONNECT, c)
	ack, ok := r.read().Content.(*paho.Connack)
	if !ok || ack.ReasonCode != 0 {
		s.t.Fatalf("connack: got %v, want success", ack)
	}
	return r, ack
}

func (s *stage) device(vid, did string) *raw {
	s.t.Helper()
	r, _ := s.join(s.ca.client("urn:dev:"+vid+":"+did), connectPacket(did, nil))
	return r
}

func (s *stage) operator(name string) *raw {
	s.t.Helper()
	r, _ := s.join(s.ca.client("urn:ops:"+name), connectPacket(name, nil))
	return r
}

// send writes one packet in one TLS record.
func (r *raw) send(kind byte, content paho.Packet) {
	r.t.Helper()
	if err := r.trySend(kind, content); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) trySend(kind byte, content paho.Packet) error {
	var buf bytes.Buffer
	if err := appendPacket(&buf, kind, content); err != nil {
		return err
	}
	_, err := r.Write(buf.Bytes())
	return err
}

func appendPacket(buf *bytes.Buffer, kind byte, content paho.Packet) error {
	pk := paho.ControlPacket{FixedHeader: paho.FixedHeader{Type: kind}, Content: content}
	switch kind {
	case paho.SUBSCRIBE, paho.UNSUBSCRIBE:
		pk.Flags = 2
	case paho.PUBLISH:
		p := content.(*paho.Publish)
		if p.Properties == nil {
			p.Properties = &paho.Properties{}
		}
		pk.Flags = p.QoS << 1
		if p.Retain {
			pk.Flags |= 1
		}
		if p.Duplicate {
			pk.Flags |= 8
		}
	}
	_, err := pk.WriteTo(buf)
	return err
}

func (r *raw) tryRead(timeout time.Duration) (*paho.ControlPacket, error) {
	_ = r.SetReadDeadline(time.Now().Add(timeout))
	return paho.ReadPacket(r.in)
}

func (r *raw) read() *paho.ControlPacket {
	r.t.Helper()
	pk, err := r.tryRead(patience)
	if err != nil {
		r.t.Fatal(err)
	}
	return pk
}

// puback reads one PUBACK and gives its packet id and code.
func (r *raw) puback() (uint16, byte) {
	r.t.Helper()
	pk := r.read()
	ack, ok := pk.Content.(*paho.Puback)
	if !ok {
		r.t.Fatalf("got %s, want PUBACK", pk.PacketType())
	}
	return ack.PacketID, ack.ReasonCode
}

// message reads one PUBLISH.
func (r *raw) message() *paho.Publish {
	r.t.Helper()
	pk := r.read()
	p, ok := pk.Content.(*paho.Publish)
	if !ok {
		r.t.Fatalf("got %s, want PUBLISH", pk.PacketType())
	}
	return p
}

func (r *raw) acknowledge(id uint16) {
	r.t.Helper()
	r.send(paho.PUBACK, &paho.Puback{PacketID: id, Properties: &paho.Properties{}})
}

// publish sends a QoS 1 message and gives the code of its PUBACK.
func (r *raw) publish(id uint16, topic, payload string) byte {
	r.t.Helper()
	r.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: topic, Payload: []byte(payload)})
	got, code := r.puback()
	if got != id {
		r.t.Fatalf("puback: got packet id %d, want %d", got, id)
	}
	return code
}

// subscribe subscribes and gives the codes.
func (r *raw) subscribe(options ...paho.SubOptions) []byte {
	r.t.Helper()
	r.send(paho.SUBSCRIBE, &paho.Subscribe{PacketID: 1, Subscriptions: options, Properties: &paho.Properties{}})
	pk := r.read()
	ack, ok := pk.Content.(*paho.Suback)
	if !ok {
		r.t.Fatalf("got %s, want SUBACK", pk.PacketType())
	}
	return ack.Reasons
}

// closed wants the connection to end, and gives the code of the DISCONNECT before it, if any.
func (r *raw) closed() (code byte) {
	r.t.Helper()
	for {
		pk, err := r.tryRead(patience)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				r.t.Fatal("the connection was not closed")
			}
			return code
		}
		if d, ok := pk.Content.(*paho.Disconnect); ok {
			code = d.ReasonCode
		}
	}
}

// silent wants nothing to arrive.
func (r *raw) silent() {
	r.t.Helper()
	if pk, err := r.tryRead(quiet); err == nil {
		r.t.Fatalf("got %s, want nothing", pk)
	}
}

// alive wants an answer to a ping, with nothing before it.
func (r *raw) alive() {
	r.t.Helper()
	r.send(paho.PINGREQ, &paho.Pingreq{})
	if pk := r.read(); pk.Type != paho.PINGRESP {
		r.t.Fatalf("got %s, want PINGRESP", pk.PacketType())
	}
}

func presencePayload(t testing.TB, device string, state protocol.PresenceState) []byte {
	t.Helper()
	data, err := document.Marshal(protocol.Presence{Version: 1, State: state, Device: protocol.DeviceID(device), Connection: 1})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// withWill adds the will of a device to a CONNECT.
func withWill(t testing.TB, vid, did string, delay uint32) func(*paho.Connect) {
	return func(c *paho.Connect) {
		c.WillFlag, c.WillRetain, c.WillQOS = true, true, 1
		c.WillTopic = "v1/" + vid + "/up/presence/" + did
		c.WillMessage = presencePayload(t, did, protocol.PresenceLost)
		if delay > 0 {
			c.WillProperties.WillDelayInterval = &delay
		}
	}
}

// reset ends the TCP connection by RST.
func reset(t testing.TB, r *raw) {
	t.Helper()
	if err := r.NetConn().(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = r.NetConn().Close()
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func marshal(t testing.TB, v any) string {
	t.Helper()
	data, err := document.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
