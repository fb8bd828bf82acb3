package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/cloud/provisioning"
	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
)

type devCertCommand struct {
	Data  string        `required:"" type:"path" placeholder:"DIR" help:"Data folder of the cloud; the authority is made there when missing."`
	Out   string        `type:"path" default:"." placeholder:"DIR" help:"Where to write NAME.crt, NAME.key and ca.crt."`
	Role  string        `enum:",device,operator" default:"" placeholder:"ROLE" help:"device or operator. Default: operator for one name, device for pairs."`
	Valid time.Duration `default:"2160h" help:"Validity from now."`
	Names []string      `arg:"" help:"VID DID for a device, and again for each further one; NAME for an operator."`
}

// Run issues the certificates.
func (c *devCertCommand) Run() error {
	if c.Role == "" {
		c.Role = "device"
		if len(c.Names) == 1 {
			c.Role = "operator"
		}
	}
	if c.Role == "operator" && len(c.Names) != 1 {
		return errors.New("dev-cert --role operator: expected one NAME")
	}
	if c.Role == "device" && len(c.Names)%2 != 0 {
		return errors.New("dev-cert: expected VID and DID, in pairs")
	}
	ca, err := provisioning.OpenCA(filepath.Join(c.Data, "ca"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	if c.Role == "operator" {
		creds, err := ca.IssueOperator(c.Names[0], c.Valid)
		if err != nil {
			return err
		}
		return c.write(c.Names[0], creds)
	}
	for i := 0; i < len(c.Names); i += 2 {
		if err := c.device(ca, c.Names[i], c.Names[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (c *devCertCommand) device(ca *provisioning.CA, vehicle, device string) error {
	vid, err := protocol.ParseVehicleID(vehicle)
	if err != nil {
		return err
	}
	did, err := protocol.ParseDeviceID(device)
	if err != nil {
		return err
	}
	creds, err := ca.IssueDevice(vid, did, c.Valid)
	if err != nil {
		return err
	}
	return c.write(device, creds)
}

func (c *devCertCommand) write(name string, creds provisioning.Credentials) error {
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{name + ".crt", creds.CertPEM, 0o644}, {name + ".key", creds.KeyPEM, 0o600}, {"ca.crt", creds.CAPEM, 0o644}} {
		if err := durable.ReplaceMode(filepath.Join(c.Out, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	return nil
}
