package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"telltale.dev/protocol/updates"

	"telltale.dev/simulator/world"
)

type certCommand struct {
	Names []string `arg:"" help:"NAME for an operator; VID DID for a device."`
	Role  string   `enum:",operator,device" default:"" placeholder:"ROLE" help:"operator or device. Default: operator for one name, device for two."`
	Cloud string   `default:".telltale/up/cloud" placeholder:"DIR" help:"Data folder of the cloud."`
	Out   string   `default:".telltale/certs" placeholder:"DIR" help:"Where to write the files."`
	MQTT  string   `name:"mqtt" placeholder:"HOST:PORT" help:"The broker, for the printed lines. Default: where telltale up has it, or 127.0.0.1:8883."`
}

// Run issues the certificate with the cloud's program and prints how to use it.
func (c *certCommand) Run(ctx context.Context) error {
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
		args := append([]string{"run", "--data", absolute(filepath.Join(filepath.Dir(c.Out), c.Names[0])), "--endpoint", c.broker(),
			"--cert", creds.Cert, "--key", creds.Key, "--ca", creds.CA}, c.download()...)
		fmt.Println(command(agent, append(args, "--can", "can0=URL", "--dbc", "can0=FILE")...))
		return nil
	}
	fmt.Println(mosquitto("mosquitto_sub", c.broker(), creds, "-t", "v1/+/up/#", "-F", "%t %x"), "|", c.inspect())
	fmt.Println(mosquitto("mosquitto_sub", c.broker(), creds, "-t", "v1/ops/config/campaign/+/result"))
	fmt.Println(mosquitto("mosquitto_pub", c.broker(), creds, "-q", "1", "-t", "v1/ops/config/campaign/ID", "-f", "CAMPAIGN.yaml"))
	return nil
}

// broker is where the printed lines connect to.
func (c *certCommand) broker() string {
	if ports, ok := runningUp(filepath.Dir(c.Cloud)); ok && c.MQTT == "" && ports.MQTT != "" {
		return ports.MQTT
	}
	return cmp.Or(c.MQTT, "127.0.0.1:8883")
}

// download is how the agent is told where update files are, when that is not the port after the broker's.
func (c *certCommand) download() []string {
	if ports, ok := runningUp(filepath.Dir(c.Cloud)); ok && c.MQTT == "" {
		return downloadFlag(ports)
	}
	return nil
}

// downloadFlag is the agent's flag for update files that are not at the port after the broker's.
func downloadFlag(p world.Ports) []string {
	if p.Download == "" || p.Download == updates.DownloadEndpoint(p.MQTT) {
		return nil
	}
	return []string{"--download", p.Download}
}

// inspect is the command line that reads what mosquitto_sub prints.
func (c *certCommand) inspect() string {
	args := []string{"inspect"}
	if ports, ok := runningUp(filepath.Dir(c.Cloud)); ok {
		args = append(args, api(ports)...)
	}
	return command(anywhere(), args...)
}

// mosquitto is the command line of one of mosquitto's clients.
func mosquitto(program, broker string, creds world.Credentials, args ...string) string {
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		host, port = broker, "8883"
	}
	return command(program, append([]string{"-V", "5", "-h", host, "-p", port,
		"--cafile", creds.CA, "--cert", creds.Cert, "--key", creds.Key}, args...)...)
}

// command is a line to paste into a shell.
func command(program string, args ...string) string {
	line := quote(program)
	for _, arg := range args {
		line += " " + quote(arg)
	}
	return line
}

// quote writes an argument so that a shell takes it as it is.
func quote(arg string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=,@+%", c)
	}
	if arg != "" && strings.IndexFunc(arg, func(c rune) bool { return !plain(c) }) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// ourselves is how the user calls this program.
func ourselves() string { return relative(os.Args[0]) }

// anywhere is the same, for a line that is pasted in another folder: a name that the shell finds stays as it is.
func anywhere() string {
	if filepath.Base(os.Args[0]) == os.Args[0] {
		return os.Args[0]
	}
	return absolute(os.Args[0])
}

// absolute is a path for a line that is pasted in another folder.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func absolutes(c world.Credentials) world.Credentials {
	return world.Credentials{Cert: absolute(c.Cert), Key: absolute(c.Key), CA: absolute(c.CA)}
}
