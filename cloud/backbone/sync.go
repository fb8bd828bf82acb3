package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// serversSubject asks every server how its JetStream is set up. The system account may ask, and whoever it is imported for.
	serversSubject = "$SYS.REQ.SERVER.PING.JSZ"
	// firstAnswer and nextAnswer are how long is waited for a server's answer.
	firstAnswer = time.Second
	nextAnswer  = 300 * time.Millisecond
)

// serverSetup is what a server says of itself (nats-server, monitoring: JSInfo).
type serverSetup struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data struct {
		Disabled bool `json:"disabled"`
		Config   struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
		Meta struct {
			Size int `json:"cluster_size"`
		} `json:"meta_cluster"`
	} `json:"data"`
}

// checkSync makes sure that an external server writes each message through to disk before it acknowledges it, where
// the credentials allow to ask; where they do not, it says so once. A server that is set up otherwise later is not noticed.
func (b *Backbone) checkSync(ctx context.Context, cfg Config) error {
	conn := b.reader.conn
	if cfg.Credentials.System != "" {
		own, err := b.dial(ctx, cfg.URL, cfg.Credentials.system(), "telltale-cloud system")
		if err != nil {
			return fmt.Errorf("with the credentials of the system account: %w", err)
		}
		defer own.Close()
		conn = own
	}
	servers, err := askServers(ctx, conn)
	if err != nil {
		return fmt.Errorf("ask the nats servers how they write: %s", redact(err.Error()))
	}
	asked, expected, unsynced := judgeServers(servers)
	switch {
	case len(unsynced) > 0:
		return fmt.Errorf("%w: without jetstream sync_interval: always on %s a power cut loses what was acknowledged; set it there",
			ErrUnsuitable, strings.Join(unsynced, ", "))
	case asked == 0 && cfg.Credentials.System != "":
		return fmt.Errorf("%w: no server says with these credentials how it writes; expected those of a user in the system account", ErrUnsuitable)
	case asked < expected || asked == 0:
		b.log.Warn("DATA MAY BE LOST IN A POWER CUT unless every server of the NATS cluster has jetstream sync_interval: always; "+
			"these credentials do not allow to ask all of them, those of the system account do",
			"hosts", hosts(cfg.URL), "asked", asked)
	default:
		b.log.Info("every nats server writes through to disk", "servers", asked)
	}
	return nil
}

// judgeServers gives how many servers with JetStream have answered, how many there are, and which of them do not write through.
func judgeServers(servers []serverSetup) (asked, expected int, unsynced []string) {
	for _, s := range servers {
		expected = max(expected, s.Data.Meta.Size, 1)
		if s.Data.Disabled {
			continue
		}
		asked++
		if !s.Data.Config.SyncAlways {
			unsynced = append(unsynced, s.Server.Name)
		}
	}
	slices.Sort(unsynced)
	return asked, expected, unsynced
}

// askServers gives the answers that come in time; none when we may not ask.
func askServers(ctx context.Context, conn *nats.Conn) ([]serverSetup, error) {
	inbox := conn.NewRespInbox()
	answers, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer answers.Unsubscribe()
	if err := conn.PublishRequest(serversSubject, inbox, nil); err != nil {
		return nil, err
	}
	var servers []serverSetup
	for wait := firstAnswer; ; wait = nextAnswer {
		one, cancel := context.WithTimeout(ctx, wait)
		m, err := answers.NextMsgWithContext(one)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrPermissionViolation):
			return servers, nil
		default:
			return nil, err
		}
		var s serverSetup
		if json.Unmarshal(m.Data, &s) == nil && s.Server.Name != "" {
			servers = append(servers, s)
		}
	}
}
