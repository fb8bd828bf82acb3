package world

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// Client is a device of a vehicle that has no agent: what it does at the broker is for the caller
// to say, also what no agent would do. It does not connect again.
type Client struct {
	// Received has the publishes of the cloud. A client that does not read them holds up the
	// connection when receivedMost wait.
	Received chan *paho.Publish

	client   *paho.Client
	conn     net.Conn
	presence protocol.Presence
	topic    string // of the presence
}

// receivedMost is how many publishes of the cloud may wait in Client.Received.
const receivedMost = 1024

// Connect connects as a device of a vehicle, which need not be of this world, with a certificate
// of its own and the will that an agent has, and says that it is online.
func (w *World) Connect(ctx context.Context, vehicle protocol.VehicleID, device protocol.DeviceID) (*Client, error) {
	creds, err := w.Identity(ctx, string(vehicle), string(device), filepath.Join(w.cfg.Dir, "certs", string(vehicle)))
	if err != nil {
		return nil, err
	}
	config, err := creds.TLS()
	if err != nil {
		return nil, err
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", w.Ports().MQTT)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &Client{
		Received: make(chan *paho.Publish, receivedMost), conn: conn,
		presence: protocol.Presence{Version: 1, Device: device, Connection: 1, Agent: "simulator"},
		topic:    topics.Topic{Kind: topics.Presence, Vehicle: vehicle, Device: device}.String(),
	}
	_, _ = rand.Read(c.presence.Boot[:]) // never fails
	c.client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), // paho writes a packet in pieces, and its pinger between them
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.Received <- p.Packet
			return true, nil
		}},
	})
	will, err := c.said(protocol.PresenceLost)
	if err == nil {
		_, err = c.client.Connect(ctx, &paho.Connect{
			ClientID: string(device), KeepAlive: 30, CleanStart: true,
			WillMessage: &paho.WillMessage{Topic: c.topic, QoS: 1, Retain: true, Payload: will},
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), conn.Close())
	}
	if err := c.Say(ctx, protocol.PresenceOnline); err != nil {
		c.Drop()
		return nil, err
	}
	return c, nil
}

// said is the document of a presence.
func (c *Client) said(state protocol.PresenceState) ([]byte, error) {
	c.presence.State = state
	return document.Marshal(c.presence)
}

// Say publishes the device's presence.
func (c *Client) Say(ctx context.Context, state protocol.PresenceState) error {
	payload, err := c.said(state)
	if err != nil {
		return err
	}
	code, err := c.Send(ctx, &paho.Publish{Topic: c.topic, QoS: 1, Retain: true, Payload: payload})
	if err == nil && code >= refusedFrom {
		err = fmt.Errorf("presence: refused with 0x%02X", code)
	}
	return err
}

// refusedFrom is the first reason code that means no.
const refusedFrom = 0x80

// Send publishes and gives the reason code of the answer: from 0x80 on the cloud refused it. An
// error says that no answer came.
func (c *Client) Send(ctx context.Context, p *paho.Publish) (code byte, err error) {
	answer, err := c.client.Publish(ctx, p)
	if answer == nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	return answer.ReasonCode, nil
}

// Subscribe asks for the publishes whose topic matches, with QoS 1.
func (c *Client) Subscribe(ctx context.Context, filter string) error {
	_, err := c.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// Leave says goodbye as an agent does, and disconnects.
func (c *Client) Leave(ctx context.Context) error {
	err := c.Say(ctx, protocol.PresenceOffline)
	if err == nil {
		err = c.client.Disconnect(&paho.Disconnect{})
	}
	c.Drop()
	return err
}

// Drop ends the connection without a word, and waits until nothing of the client runs. It may be called twice.
func (c *Client) Drop() {
	_ = c.conn.Close()
	<-c.client.Done()
}
