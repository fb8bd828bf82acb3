package main

import (
	"fmt"
	"os"

	"telltale.dev/firmware-images/image"
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
