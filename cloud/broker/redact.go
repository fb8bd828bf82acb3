package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/mochi-mqtt/server/v2/packets"
)

var errPanic = errors.New("panic while reading")

// redact says in a few fixed words why a connection ended. Errors of TLS and of
// the network hold certificates' names and addresses, so they are not printed.
func redact(err error) string {
	var code packets.Code
	var op *net.OpError
	var f *fault
	switch {
	case err == nil:
		return "closed by client"
	case errors.As(err, &f):
		return f.text
	case errors.As(err, &code):
		return code.Reason
	case errors.Is(err, errPanic):
		return errPanic.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case errors.As(err, &op):
		return "network error"
	}
	return "tls or protocol error"
}

// redactor is the log of mochi. Its records carry whole packets, client ids and
// addresses; only the message and a word on the error pass, at debug level.
type redactor struct{ log *slog.Logger }

func (r redactor) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && r.log.Enabled(ctx, slog.LevelDebug)
}

func (r redactor) Handle(ctx context.Context, record slog.Record) error {
	cause := ""
	record.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && a.Key == "error" {
			cause = redact(err)
		}
		return true
	})
	r.log.DebugContext(ctx, "mochi", "said", record.Message, "error", cause)
	return nil
}

func (r redactor) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r redactor) WithGroup(string) slog.Handler      { return r }
