package backbone

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Replicas of new streams by default.
const (
	clusterReplicas = 3
	singleReplicas  = 1
)

// atomicLevel is the JetStream API level that brought atomic batches (nats-server 2.12).
const atomicLevel = 2

// connectURL connects to a server that somebody else runs.
func (b *Backbone) connectURL(ctx context.Context, cfg Config, name string) (link, error) {
	conn, err := b.dial(ctx, cfg.URL, cfg.Credentials, name)
	if err != nil {
		return link{}, err
	}
	return newLink(conn)
}

func (b *Backbone) dial(ctx context.Context, list string, credentials Credentials, name string) (*nats.Conn, error) {
	files, err := credentials.options()
	if err != nil {
		return nil, err
	}
	at := hosts(list)
	if at == malformedURL { // the library's error would quote a part of the password
		return nil, fmt.Errorf("%w at %s: escape user and password in it (%%23 for #), or correct it", ErrUnreachable, at)
	}
	deadline, _ := ctx.Deadline()
	conn, err := nats.Connect(list, append(append(b.connectOptions(name), files...),
		nats.Timeout(min(time.Until(deadline), requestTimeout)), nats.ReconnectWait(outageWait),
		nats.IgnoreAuthErrorAbort(), // credentials that have expired may be renewed
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("connection to nats server is back", "connection", name) }))...)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %s; start it, or correct the URL and the credentials", ErrUnreachable, at, redact(err.Error()))
	}
	return conn, nil
}

// connectOptions are those of every connection, within the process too.
func (b *Backbone) connectOptions(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // without a connection a publish fails at once instead of waiting in memory
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.outage.happened()
			if err != nil {
				b.log.Warn("connection to nats server lost", "connection", name, "reason", redact(err.Error()))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), serversSubject) {
				return // checkSync says what follows
			}
			b.log.Warn("nats client", "connection", name, "reason", redact(err.Error()))
		}),
	}
}

// malformedURL stands for the hosts of a list that has a malformed URL.
const malformedURL = "a malformed URL"

// hosts gives the hosts of a list of URLs, without user and password, or malformedURL. With a # / ? or comma in the
// password the part before it would pass for a host and port: so a URL that goes on after the host is malformed, and one
// without scheme whose user is another than that of the first.
func hosts(list string) string {
	var names []string
	var user string
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		bare := !strings.Contains(one, "://")
		if bare {
			one = "nats://" + one // as the library does
		}
		u, err := url.Parse(one)
		if err != nil || u.Host == "" || u.Fragment != "" || u.RawQuery != "" || u.ForceQuery || strings.Trim(u.Path, "/") != "" {
			return malformedURL
		}
		if len(names) == 0 {
			user = u.User.String()
		} else if bare && u.User != nil && u.User.String() != user {
			return malformedURL
		}
		names = append(names, u.Host)
	}
	return strings.Join(names, ", ")
}

// checkServer wants JetStream with atomic batches and gives the number of replicas for what is new.
func (b *Backbone) checkServer(ctx context.Context, cfg Config) (int, error) {
	if b.server != nil {
		return singleReplicas, nil
	}
	info, err := b.reader.js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
		return 0, fmt.Errorf("%w: the server at %s has no JetStream for this account; switch it on there", ErrUnsuitable, hosts(cfg.URL))
	case err != nil:
		return 0, fmt.Errorf("%w: ask the server at %s for JetStream: %w", ErrUnsuitable, hosts(cfg.URL), err)
	case info.API.Level < atomicLevel:
		return 0, fmt.Errorf("%w: the server at %s is version %s, expected 2.12 or newer", ErrUnsuitable, hosts(cfg.URL), b.reader.conn.ConnectedServerVersion())
	}
	if err := b.checkSync(ctx, cfg); err != nil {
		return 0, err
	}
	switch {
	case cfg.Replicas > 0:
		return cfg.Replicas, nil
	case b.reader.conn.ConnectedClusterName() != "":
		return clusterReplicas, nil
	}
	return singleReplicas, nil
}

// outage tells the commits in flight that the connection was lost: their answers will never come.
type outage struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

func newOutage() *outage { return &outage{next: make(chan struct{})} }

// happened ends what watches now.
func (o *outage) happened() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.next)
	o.next = make(chan struct{})
}

// watch calls cancel at the next outage, unless ctx ends before. It returns at once.
func (o *outage) watch(ctx context.Context, cancel context.CancelFunc) {
	o.mu.Lock()
	next := o.next
	o.mu.Unlock()
	go func() {
		select {
		case <-next:
			cancel()
		case <-ctx.Done():
		}
	}()
}
