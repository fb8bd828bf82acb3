package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"telltale.dev/simulator/client"
	"telltale.dev/simulator/shell"

	"telltale.dev/simulator/world"
)

type Cert struct {
	Names []string `arg:"" help:"NAME for an operator; VID DID for a device."`
	Role  string   `enum:",operator,device" default:"" placeholder:"ROLE" help:"operator or device. Default: operator for one name, device for two."`
	Cloud string   `default:".telltale/up/cloud" placeholder:"DIR" help:"Data folder of the cloud."`
	Out   string   `default:".telltale/certs" placeholder:"DIR" help:"Where to write the files."`
	MQTT  string   `name:"mqtt" placeholder:"HOST:PORT" help:"The broker, for the printed lines. Default: where telltale up has it, or 127.0.0.1:8883."`
}

// Run issues the certificate with the cloud's program and prints how to use it.
func (c *Cert) Run(ctx context.Context) error {
	program, err := world.FindProgram("telltale-cloud")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.Cloud, "ca")); err != nil {
		return fmt.Errorf("--cloud %s: expected the data folder of a cloud that has run with --dev, such as telltale up makes", c.Cloud)
	}
	if c.Role == "" {
		c.Role = "device"
		if len(c.Names) == 1 {
			c.Role = "operator"
		}
	}
	if want := map[string]int{"operator": 1, "device": 2}[c.Role]; len(c.Names) != want {
		return fmt.Errorf("--role %s: expected %s", c.Role, map[string]string{"operator": "one NAME", "device": "VID DID"}[c.Role])
	}
	args := append([]string{"dev-cert", "--data", c.Cloud, "--out", c.Out, "--role", c.Role, "--"}, c.Names...)
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimPrefix(strings.TrimSpace(string(out)), "telltale-cloud: "))
	}
	name := c.Names[len(c.Names)-1]
	creds := absolutes(world.Credentials{Cert: filepath.Join(c.Out, name+".crt"), Key: filepath.Join(c.Out, name+".key"), CA: filepath.Join(c.Out, "ca.crt")})
	if c.Role == "device" {
		agent, err := world.FindProgram("telltale-agent")
		if err != nil {
			agent = "telltale-agent" // it may be on the machine that the certificate is for
		}
		args := append([]string{"run", "--data", shell.Absolute(filepath.Join(filepath.Dir(c.Out), c.Names[0])), "--endpoint", c.broker(),
			"--cert", creds.Cert, "--key", creds.Key, "--ca", creds.CA}, c.download()...)
		fmt.Println(shell.Command(agent, append(args, "--can", "can0=URL", "--dbc", "can0=FILE")...))
		return nil
	}
	fmt.Println(mosquitto("mosquitto_sub", c.broker(), creds, "-t", "v1/+/up/#", "-F", "%t %x"), "|", c.inspect())
	fmt.Println(mosquitto("mosquitto_sub", c.broker(), creds, "-t", "v1/ops/config/campaign/+/result"))
	fmt.Println(mosquitto("mosquitto_pub", c.broker(), creds, "-q", "1", "-t", "v1/ops/config/campaign/ID", "-f", "CAMPAIGN.yaml"))
	return nil
}

// broker is where the printed lines connect to.
func (c *Cert) broker() string {
	if ports, ok := client.RunningUp(filepath.Dir(c.Cloud)); ok && c.MQTT == "" && ports.MQTT != "" {
		return ports.MQTT
	}
	return cmp.Or(c.MQTT, "127.0.0.1:8883")
}

// download is how the agent is told where update files are, when that is not the port after the broker's.
func (c *Cert) download() []string {
	if ports, ok := client.RunningUp(filepath.Dir(c.Cloud)); ok && c.MQTT == "" {
		return client.DownloadFlag(ports)
	}
	return nil
}

// inspect is the command line that reads what mosquitto_sub prints.
func (c *Cert) inspect() string {
	args := []string{"inspect"}
	if ports, ok := client.RunningUp(filepath.Dir(c.Cloud)); ok {
		args = append(args, client.APIFlag(ports)...)
	}
	return shell.Command(shell.Anywhere(), args...)
}
