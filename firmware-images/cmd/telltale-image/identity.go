package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"telltale.dev/firmware-images/image"
	"telltale.dev/hal/keystore/file"
	"telltale.dev/protocol"
)

type identityCommand struct {
	Disk     string   `arg:"" type:"path" help:"The disk image, or the device it has been flashed to."`
	Cert     string   `required:"" type:"path" placeholder:"FILE" help:"Device certificate (PEM)."`
	Key      string   `required:"" type:"path" placeholder:"FILE" help:"Its private key (PEM)."`
	CA       string   `required:"" name:"ca" type:"path" placeholder:"FILE" help:"Certificate authority of the broker (PEM)."`
	Endpoint []string `required:"" placeholder:"HOST:PORT" help:"A broker. May be repeated."`
	Download []string `placeholder:"HOST:PORT" help:"Where update files come from. Default: the brokers' hosts, port 8884."`
}

// Run writes the identity into its partition.
func (c *identityCommand) Run() error {
	if err := c.check(); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	files := map[string][]byte{}
	for name, path := range map[string]string{"device.crt": c.Cert, "device.key": c.Key, "ca.crt": c.CA} {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		files[name] = data
	}
	for name, addresses := range map[string][]string{"endpoint": c.Endpoint, "download": c.Download} {
		for _, a := range addresses {
			files[name] = append(files[name], a+"\n"...)
		}
	}
	return image.WriteIdentity(c.Disk, files)
}

// check finds what the device would find when it is too late.
func (c *identityCommand) check() error {
	store, err := file.Open(file.Config{Cert: c.Cert, Key: c.Key, CA: c.CA, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := store.Valid(time.Now()); err != nil {
		return err
	}
	uris := store.Chain()[0].URIs
	if len(uris) != 1 {
		return fmt.Errorf("--cert: expected one URI of the form urn:dev:vehicle:device, found %d", len(uris))
	}
	if _, _, err := protocol.ParseDeviceURN(uris[0].String()); err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	for flag, addresses := range map[string][]string{"--endpoint": c.Endpoint, "--download": c.Download} {
		for _, a := range addresses {
			host, port, err := net.SplitHostPort(a)
			if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t\r\n/") {
				return fmt.Errorf("%s: expected HOST:PORT, found %q", flag, a)
			}
		}
	}
	return nil
}
