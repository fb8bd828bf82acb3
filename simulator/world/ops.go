package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// Operations is fleet operations: an MQTT client with an operator's certificate.
type Operations struct {
	conn *autopaho.ConnectionManager

	mu      sync.Mutex // guards results
	results map[string]CampaignResult
}

// CampaignResult is what the cloud says on a campaign's result topic.
type CampaignResult struct {
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
}

// Operations connects as an operator; Close it.
func (w *World) Operations(ctx context.Context) (*Operations, error) {
	creds, err := w.Operator(ctx, "simulator")
	if err != nil {
		return nil, err
	}
	config, err := creds.TLS()
	if err != nil {
		return nil, err
	}
	o := &Operations{results: map[string]CampaignResult{}}
	o.conn, err = autopaho.NewConnection(context.WithoutCancel(ctx), autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtts", Host: w.Ports().MQTT}}, TlsCfg: config, KeepAlive: 20, CleanStartOnInitialConnection: true,
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			_, _ = m.Subscribe(context.WithoutCancel(ctx), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
				{Topic: "v1/ops/config/+/+/result", QoS: 1},
			}})
		},
		ClientConfig: paho.ClientConfig{
			ClientID:          "simulator",
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){o.receive},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("fleet operations: %w", err)
	}
	if err := o.conn.AwaitConnection(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("fleet operations: %w", err), o.Close(ctx))
	}
	return o, nil
}

// TLS makes the client's side of a connection to the broker.
func (c Credentials) TLS() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("certificate authority: expected a PEM certificate")
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: roots}, nil
}

func (o *Operations) receive(p paho.PublishReceived) (bool, error) {
	var r CampaignResult
	if json.Unmarshal(p.Packet.Payload, &r) == nil && r.ID != "" {
		o.mu.Lock()
		o.results[r.ID] = r
		o.mu.Unlock()
	}
	return true, nil
}

// Push publishes a campaign document; it is stored when Push returns.
func (o *Operations) Push(ctx context.Context, id protocol.CampaignID, doc []byte) error {
	topic := topics.Topic{Kind: topics.OpsConfig, Name: "campaign", ID: string(id)}
	answer, err := o.conn.Publish(ctx, &paho.Publish{Topic: topic.String(), QoS: 1, Payload: doc})
	if err != nil {
		return fmt.Errorf("push campaign: %w", err)
	}
	if answer.ReasonCode >= refusedFrom {
		return fmt.Errorf("push campaign: refused with 0x%02X", answer.ReasonCode)
	}
	return nil
}

// Result gives the newest result of a campaign, if there was one.
func (o *Operations) Result(id string) (CampaignResult, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.results[id]
	return r, ok
}

// Close disconnects.
func (o *Operations) Close(ctx context.Context) error {
	return o.conn.Disconnect(ctx)
}
