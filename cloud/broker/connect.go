package broker

import (
	"crypto/x509"
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	mqtt "github.com/mochi-mqtt/server/v2"

	"telltale.dev/protocol"
)

// admit checks a CONNECT and, when it is good, gives the connection its session.
// It returns the reason code for CONNACK.
func (b *Broker) admit(c *connection, pk packets.Packet) byte {
	c.version, c.maxPacket = pk.ProtocolVersion, pk.Properties.MaximumPacketSize
	c.explain = c.version == 5 && (!pk.Properties.RequestProblemInfoFlag || pk.Properties.RequestProblemInfo == 1)
	client, code := b.identify(c)
	if code != codeSuccess {
		return code
	}
	if pk.Properties.AuthenticationMethod != "" {
		return codeAuthMethod
	}
	if !clientIDAllowed(client, pk.Connect.ClientIdentifier) {
		return codeClientID
	}
	c.key = sessionKey(client, c.mochi.ID) // mochi has given an id to a client without
	w, code := newWill(client, pk)
	if code != codeSuccess {
		return code
	}
	if client.Connection, code = b.number(c, client); code != codeSuccess {
		return code
	}
	if err := b.cfg.Handler.Connect(client); err != nil {
		return connectCode(err)
	}
	expiry := b.settle(c, pk)
	if code := b.attach(c, w, settings(pk, expiry)); code != codeSuccess {
		return code
	}
	c.admitted.Store(true)
	if g, ok := c.NetConn().(gated); ok {
		g.Known(c.key)
	}
	// The handshake's deadline ends here; Write sets its own from now on.
	_ = c.SetWriteDeadline(time.Time{})
	return codeSuccess
}

// identify reads the certificate of the connection, on resumed TLS sessions too.
func (b *Broker) identify(c *connection) (Client, byte) {
	var leaf *x509.Certificate
	if chain := c.ConnectionState().PeerCertificates; len(chain) > 0 {
		leaf = chain[0]
	} else {
		return Client{}, codeNotAuthorized
	}
	client, err := b.cfg.Identify(leaf)
	device := client.Vehicle != "" && client.Device != ""
	if err != nil || device == (client.Operator != "") {
		return Client{}, codeNotAuthorized
	}
	return client, codeSuccess
}

// number gives the connection its place in the order of connections.
func (b *Broker) number(c *connection, client Client) (uint64, byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return 0, codeUnavailable
	}
	b.lastConn++
	client.Connection = b.lastConn
	c.client = client
	return b.lastConn, codeSuccess
}

// clientIDAllowed: a device is called by its device id; an operator may choose, or leave it to us.
func clientIDAllowed(client Client, id string) bool {
	if client.Operator == "" {
		return id == string(client.Device)
	}
	for _, r := range id {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return len(id) <= maxClientID
}

// sessionKey tells sessions apart. The identity of the certificate is part of it, so
// that no client can take over the session of another by its client id.
func sessionKey(client Client, id string) string {
	if client.Operator != "" {
		return "ops/" + client.Operator + "/" + id
	}
	return deviceKey(client.Vehicle, client.Device)
}

func deviceKey(vehicle protocol.VehicleID, device protocol.DeviceID) string {
	return "dev/" + string(vehicle) + "/" + string(device)
}

func connectCode(err error) byte {
	switch {
	case errors.Is(err, ErrNotRegistered), errors.Is(err, ErrNotActive):
		return codeNotAuthorized
	case errors.Is(err, ErrBusy):
		return codeBusy
	}
	return codeUnavailable
}

// settle fixes what mochi keeps for the connection: the keep alive, and no will and
// no session expiry, because those are ours. It returns the session expiry.
func (b *Broker) settle(c *connection, pk packets.Packet) time.Duration {
	cl := c.mochi
	cl.ID = c.key + "#" + uint64Text(c.client.Connection) // each connection is a new client to mochi
	cl.Properties.Will = mqtt.Will{}
	keepAlive(cl, pk)
	asked := time.Duration(pk.Properties.SessionExpiryInterval) * time.Second
	if c.version < 5 {
		if cl.Properties.Clean {
			return 0
		}
		cl.Properties.Clean = true
		return b.cfg.MaxSessionExpiry
	}
	cl.Properties.Props.SessionExpiryInterval = 0
	if asked > b.cfg.MaxSessionExpiry {
		asked = b.cfg.MaxSessionExpiry
		c.sessionExpiry = uint32(asked / time.Second)
	}
	return asked
}

// keepAlive limits the keep alive. MQTT 5 clients are told; those of 3.1.1 cannot
// be, so one that asks for none is watched by TCP keep-alive and a long deadline.
func keepAlive(cl *mqtt.Client, pk packets.Packet) {
	asked := pk.Connect.Keepalive
	switch {
	case pk.ProtocolVersion == 5 && (asked == 0 || asked > maxKeepAlive):
		cl.State.Keepalive, cl.State.ServerKeepalive = maxKeepAlive, true
	case asked == 0 || asked > maxKeepAlive3:
		cl.State.Keepalive = maxKeepAlive3
	}
}

// sessionSettings are what one CONNECT says about its session.
type sessionSettings struct {
	version   byte
	clean     bool
	expiry    time.Duration
	window    int    // QoS 1 messages that may be in flight to the client
	maxPacket uint32 // largest packet that the client takes; 0: any
}

func settings(pk packets.Packet, expiry time.Duration) sessionSettings {
	s := sessionSettings{version: pk.ProtocolVersion, clean: pk.Connect.Clean, expiry: expiry, window: sendWindow}
	if n := int(pk.Properties.ReceiveMaximum); n > 0 {
		s.window = min(n, sendWindow)
	}
	if pk.ProtocolVersion == 5 {
		s.maxPacket = pk.Properties.MaximumPacketSize
	}
	return s
}

// departure notes a DISCONNECT: a reason code 0 forgets the will [MQTT-3.14.4-3]. It
// is false when the session expiry may not be changed so [MQTT-3.14.2-2].
func (b *Broker) departure(c *connection, pk *packets.Packet) bool {
	if c.version == 5 && pk.FixedHeader.Remaining == 1 {
		// A reason code alone, as mosquitto writes it; mochi takes it for none. It is
		// the last byte, because nothing may follow a DISCONNECT [MQTT-3.14.4-2].
		pk.ReasonCode = c.last
	}
	if pk.Properties.SessionExpiryIntervalFlag {
		expiry := time.Duration(pk.Properties.SessionExpiryInterval) * time.Second
		pk.Properties.SessionExpiryIntervalFlag = false // mochi would compare it with its own
		if !b.setExpiry(c, min(expiry, b.cfg.MaxSessionExpiry)) {
			return false
		}
	}
	if pk.ReasonCode == codeSuccess {
		c.departed = true
		b.forgetWill(c)
	}
	return true
}
