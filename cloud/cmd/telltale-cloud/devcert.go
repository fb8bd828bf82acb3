package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/cloud/provisioning"
	"telltale.dev/protocol"
)

type devCertCommand struct {
	Data  string        `required:"" type:"path" placeholder:"DIR" help:"Data folder of the cloud; the authority is made there when missing."`
	Out   string        `type:"path" default:"." placeholder:"DIR" help:"Where to write NAME.crt, NAME.key and ca.crt."`
	Role  string        `enum:"device,operator" default:"device" help:"device or operator."`
	Valid time.Duration `default:"2160h" help:"Validity from now."`
	Names []string      `arg:"" help:"VID DID for a device; NAME for an operator."`
}

// Run issues the certificate.
func (c *devCertCommand) Run() error {
	ca, err := provisioning.OpenCA(filepath.Join(c.Data, "ca"))
	if err != nil {
		return err
	}
	creds, name, err := c.issue(ca)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{name + ".crt", creds.CertPEM, 0o644}, {name + ".key", creds.KeyPEM, 0o600}, {"ca.crt", creds.CAPEM, 0o644}} {
		if err := os.WriteFile(filepath.Join(c.Out, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	return nil
}

func (c *devCertCommand) issue(ca *provisioning.CA) (provisioning.Credentials, string, error) {
	if c.Role == "operator" {
		if len(c.Names) != 1 {
			return provisioning.Credentials{}, "", errors.New("dev-cert --role operator: expected one NAME")
		}
		creds, err := ca.IssueOperator(c.Names[0], c.Valid)
		return creds, c.Names[0], err
	}
	if len(c.Names) != 2 {
		return provisioning.Credentials{}, "", errors.New("dev-cert: expected VID and DID")
	}
	vid, err := protocol.ParseVehicleID(c.Names[0])
	if err != nil {
		return provisioning.Credentials{}, "", err
	}
	did, err := protocol.ParseDeviceID(c.Names[1])
	if err != nil {
		return provisioning.Credentials{}, "", err
	}
	creds, err := ca.IssueDevice(vid, did, c.Valid)
	return creds, string(did), err
}
