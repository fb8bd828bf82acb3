package cloud

import (
	"crypto/tls"
	"fmt"
	"net"

	"telltale.dev/cloud/provisioning"
	"telltale.dev/cloud/update"
	"telltale.dev/protocol/updates"
)

// openDownloads listens for devices that fetch update files.
func (c *Cloud) openDownloads(config *tls.Config) error {
	if c.cfg.Download == "" {
		return nil
	}
	server, err := update.NewServer(update.ServerConfig{
		Listen: c.cfg.Download, Gate: c.gateDownloads, TLS: config, Updates: c.updates, Identify: provisioning.CertificateHolder, Active: c.registry.Active,
		Log: c.cfg.Log,
	})
	if err != nil && c.cfg.Download == updates.DownloadEndpoint(c.cfg.MQTT) {
		return fmt.Errorf("download: %w; %s is the port for MQTT plus 1: choose another one with --download HOST:PORT, or none", err, c.cfg.Download)
	}
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	c.downloads = server
	return nil
}

// DownloadAddr is where devices fetch update files; nil when they cannot.
func (c *Cloud) DownloadAddr() net.Addr {
	if c.downloads == nil {
		return nil
	}
	return c.downloads.Addr()
}
