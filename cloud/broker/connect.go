package broker

import (
	"errors"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	mqtt "github.com/mochi-mqtt/server/v2"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol/principal"
)

// admit checks a CONNECT and, when it is good, gives the connection its session.
// It returns the reason code for CONNACK.
func (b *Broker) admit(c *connection, pk packets.Packet) byte {
	c.version, c.maxPacket = pk.ProtocolVersion, pk.Properties.MaximumPacketSize
	c.explain = c.version == 5 && (!pk.Properties.RequestProblemInfoFlag || pk.Properties.RequestProblemInfo == 1)
	holder, code := b.identify(c)
	if code != codeSuccess {
		return code
	}
	if pk.Properties.AuthenticationMethod != "" {
		return codeAuthMethod
	}
	if code := b.clientIDCode(holder, pk.Connect.ClientIdentifier); code != codeSuccess {
		return code
	}
	client := Client{Principal: holder}
	c.key = sessionKey(holder, c.mochi.ID) // mochi has given an id to a client without
	w, code := b.newWill(holder, pk)
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
func (b *Broker) identify(c *connection) (principal.Principal, byte) {
	chain := c.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return principal.Principal{}, codeNotAuthorized
	}
	holder, err := b.cfg.Identify(chain[0])
	if err != nil || holder.URI() == "" {
		return principal.Principal{}, codeNotAuthorized
	}
	return holder, codeSuccess
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

// clientIDCode says whether a client may have a client identifier: the access table names that
// of a device, and who may choose one. Whoever may not connect at all is told so, and nothing of the identifier.
func (b *Broker) clientIDCode(holder principal.Principal, id string) byte {
	fits := len(id) <= maxClientID && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f })
	switch allowed := b.cfg.Access(holder, access.Connect, id).Allowed(); {
	case !allowed && holder.Kind != principal.Device:
		return codeNotAuthorized
	case !allowed || !fits:
		return codeClientID
	}
	return codeSuccess
}

// sessionKey tells sessions apart. The name in the certificate is part of it, so that no
// client can take over the session of another by its client id; a device has one session.
func sessionKey(holder principal.Principal, id string) string {
	if holder.Kind == principal.Device {
		return holder.URI()
	}
	return holder.URI() + "/" + id
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
