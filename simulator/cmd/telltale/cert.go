package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"telltale.dev/simulator/world"
)

type certCommand struct {
	Names []string `arg:"" help:"NAME for an operator; VID DID for a device."`
	Role  string   `enum:"operator,device" default:"operator" help:"operator or device."`
	Cloud string   `type:"path" default:".telltale/cloud" placeholder:"DIR" help:"Data folder of the cloud."`
	Out   string   `type:"path" default:".telltale/certs" placeholder:"DIR" help:"Where to write the files."`
	MQTT  string   `default:"127.0.0.1:8883" placeholder:"HOST:PORT" help:"The broker, for the printed command."`
}

// Run issues the certificate with the cloud's program and prints how to use it.
func (c *certCommand) Run(ctx context.Context) error {
	program, err := world.FindProgram("telltale-cloud")
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.Cloud); err != nil {
		return fmt.Errorf("--cloud: expected the data folder of a cloud, such as telltale up makes: %w", err)
	}
	args := append([]string{"dev-cert", "--data", c.Cloud, "--out", c.Out, "--role", c.Role}, c.Names...)
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimPrefix(strings.TrimSpace(string(out)), "telltale-cloud: "))
	}
	name := c.Names[len(c.Names)-1]
	host, port, _ := strings.Cut(c.MQTT, ":")
	files := mosquittoFiles(filepath.Join(c.Out, name+".crt"), filepath.Join(c.Out, name+".key"), filepath.Join(c.Out, "ca.crt"))
	if c.Role == "device" {
		fmt.Printf("telltale-agent run --data .telltale/%s --endpoint %s --cert %s --key %s --ca %s --can can0=URL --dbc can0=FILE\n",
			c.Names[0], c.MQTT, filepath.Join(c.Out, name+".crt"), filepath.Join(c.Out, name+".key"), filepath.Join(c.Out, "ca.crt"))
		return nil
	}
	fmt.Printf("mosquitto_sub -V 5 -h %s -p %s %s -t 'v1/#' -v\n", host, port, files)
	fmt.Printf("mosquitto_pub -V 5 -h %s -p %s %s -q 1 -t v1/ops/config/campaign/ID -f CAMPAIGN.yaml\n", host, port, files)
	return nil
}

func mosquittoFiles(cert, key, ca string) string {
	return fmt.Sprintf("--cafile %s --cert %s --key %s", ca, cert, key)
}
