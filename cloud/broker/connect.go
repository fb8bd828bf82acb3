package broker

import (
	"errors"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol/principal"
)

// admit checks a CONNECT and, when it is good, gives the connection its session.
// It returns the reason code for CONNACK.
func (b *Broker) admit(c *connection, pk *packets.Packet) byte {
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
	c.key = sessionKey(holder, pk.Connect.ClientIdentifier+c.assignedID)
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
	if g, ok := c.source.Conn.(gated); ok {
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

// settle fixes the keep alive, and returns the session expiry.
func (b *Broker) settle(c *connection, pk *packets.Packet) time.Duration {
	c.settleKeepAlive(pk.Connect.Keepalive)
	if c.version < 5 {
		if pk.Connect.Clean {
			return 0
		}
		return b.cfg.MaxSessionExpiry
	}
	asked := time.Duration(pk.Properties.SessionExpiryInterval) * time.Second
	if asked > b.cfg.MaxSessionExpiry {
		asked = b.cfg.MaxSessionExpiry
		c.sessionExpiry = uint32(asked / time.Second)
	}
	return asked
}

// settleKeepAlive limits the keep alive. MQTT 5 clients are told; those of 3.1.1 cannot
// be, so one that asks for none is watched by TCP keep-alive and a long deadline.
func (c *connection) settleKeepAlive(asked uint16) {
	c.keepAlive = asked
	switch {
	case c.version == 5 && (asked == 0 || asked > maxKeepAlive):
		c.keepAlive, c.keepAliveTold = maxKeepAlive, true
	case asked == 0 || asked > maxKeepAlive3:
		c.keepAlive = maxKeepAlive3
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

func settings(pk *packets.Packet, expiry time.Duration) sessionSettings {
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
func (b *Broker) departure(c *connection, pk *packets.Packet, body []byte) bool {
	code := pk.ReasonCode
	if c.version == 5 && len(body) == 1 {
		code = body[0] // a reason code alone, as mosquitto writes it; mochi takes it for none
	}
	if pk.Properties.SessionExpiryIntervalFlag {
		expiry := time.Duration(pk.Properties.SessionExpiryInterval) * time.Second
		if !b.setExpiry(c, min(expiry, b.cfg.MaxSessionExpiry)) {
			return false
		}
	}
	if code == codeSuccess {
		c.departed = true
		b.forgetWill(c)
	}
	return true
}
