package broker

import (
	"errors"
	"io"
	"net"
	"os"
)

var errPanic = errors.New("panic while reading")

// redact says in a few fixed words why a connection ended. Errors of TLS and of
// the network hold certificates' names and addresses, so they are not printed.
func redact(err error) string {
	var op *net.OpError
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.text
	case errors.Is(err, errPanic), errors.Is(err, errDisconnected), errors.Is(err, errHungUp):
		return err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case errors.As(err, &op):
		return "network error"
	}
	return "tls or protocol error"
}
