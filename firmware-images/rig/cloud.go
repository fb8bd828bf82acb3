package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Ports are addresses of a cloud, host:port.
type Ports struct {
	MQTT     string `json:"mqtt"`
	HTTP     string `json:"http"`
	Download string `json:"download"`
}

// stopTime is what a cloud gets to end in order.
const stopTime = 20 * time.Second

// cloud is a running telltale-cloud.
type cloud struct {
	program, data string
	cmd           *exec.Cmd
	ports         Ports
	ended         bool
}

// startCloud starts the program and waits until it says where it listens.
func startCloud(ctx context.Context, cfg Config) (*cloud, error) {
	c := &cloud{program: filepath.Join(cfg.Programs, "telltale-cloud"), data: filepath.Join(cfg.Dir, "cloud")}
	or := func(address string) string {
		if address == "" {
			return "127.0.0.1:0"
		}
		return address
	}
	c.cmd = exec.CommandContext(ctx, c.program, "run", "--data", c.data, "--dev", "--name", host,
		"--mqtt", or(cfg.Ports.MQTT), "--http", or(cfg.Ports.HTTP), "--download", or(cfg.Ports.Download), "--flush", "5s")
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = stopTime
	c.cmd.Stderr = cfg.CloudLog
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c.ports)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("telltale-cloud did not say where it listens: %w", err), c.stop())
	}
	return c, nil
}

// issue writes a device's certificate, key and authority into a folder.
func (c *cloud) issue(ctx context.Context, out, vehicle, device string) error {
	cmd := exec.CommandContext(ctx, c.program, "dev-cert", "--data", c.data, "--out", out, vehicle, device)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(text)))
	}
	return nil
}

// guest is an address as the guest sees it.
func (c *cloud) guest(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort(host, port)
}

// stop ends the cloud in order, once.
func (c *cloud) stop() error {
	if c.ended {
		return nil
	}
	c.ended = true
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.AfterFunc(stopTime, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() { // our own signal, before it listened to it
		return nil
	}
	return err
}
