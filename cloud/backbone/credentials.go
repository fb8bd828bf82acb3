package backbone

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"telltale.dev/hal/durable"
)

// Credentials are the files by which an external NATS server knows us, and we know it; empty names mean none. They are read
// again at each new connection, so that they may be renewed while we run. Errors name a file by its last element only.
type Credentials struct {
	// User is the file with the JWT and the seed of a user (.creds); NKey is the file with a seed alone. One of both at most.
	User string `name:"creds" type:"existingfile" placeholder:"FILE" help:"Credentials of the user at that server (.creds)."`
	NKey string `name:"nkey" type:"existingfile" placeholder:"FILE" help:"The seed of an nkey instead of credentials."`
	// CA is the file with the certificates (PEM) by which the server's is checked; empty: those of this machine.
	CA string `name:"ca" type:"existingfile" placeholder:"FILE" help:"Certificate authority (PEM) of that server. Default: those of this machine."`
	// Certificate and Key (PEM) are ours, for servers that want one. Both or none.
	Certificate string `name:"cert" type:"existingfile" placeholder:"FILE" help:"Our certificate (PEM), for a server that wants one."`
	Key         string `name:"key" type:"existingfile" placeholder:"FILE" help:"Its key (PEM)."`
	// System is like User, of a user in the server's system account. It is used once, at the start, to ask
	// whether every server writes through to disk; what User may ask is asked without it.
	System string `name:"system-creds" type:"existingfile" placeholder:"FILE" help:"Credentials of a user in the system account, to ask at the start whether the servers write through to disk (sync_interval: always)."`
}

// maxCredentials bounds a file, in bytes.
const maxCredentials = 1 << 20

// check says which file is missing or does not go with another.
func (c *Credentials) check() error {
	switch {
	case c.User != "" && c.NKey != "":
		return fmt.Errorf("a user's credentials and an nkey: expected one of both: %w", ErrInvalid)
	case (c.Certificate == "") != (c.Key == ""):
		return fmt.Errorf("a certificate and its key: expected both or none: %w", ErrInvalid)
	}
	for _, path := range []string{c.User, c.NKey, c.CA, c.Certificate, c.Key, c.System} {
		if path == "" {
			continue
		}
		if _, _, err := durable.ReadRegular(path, maxCredentials); err != nil {
			return fmt.Errorf("read %s for the nats server: %w", filepath.Base(path), durable.Bare(err))
		}
	}
	return nil
}

// options gives what a connection needs; it reads the nkey's public half.
func (c *Credentials) options() ([]nats.Option, error) {
	var options []nats.Option
	if c.User != "" {
		options = append(options, nats.UserCredentials(c.User))
	}
	if c.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("%s: expected the seed of a user's nkey: %w", filepath.Base(c.NKey), errors.New(redact(err.Error())))
		}
		options = append(options, option)
	}
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Certificate != "" {
		options = append(options, nats.ClientCert(c.Certificate, c.Key))
	}
	return options, nil
}

// system gives the credentials for the system account: the same server, another user.
func (c *Credentials) system() Credentials {
	return Credentials{User: c.System, CA: c.CA, Certificate: c.Certificate, Key: c.Key}
}
