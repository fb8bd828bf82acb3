package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"telltale.dev/protocol"
)

// Names gives n vehicles their names, the same in each run, without certificates.
func Names(prefix string, n int) ([]Identity, error) {
	if n < 1 || n > maxVehicles {
		return nil, fmt.Errorf("%w: %d vehicles: expected 1 to %d", ErrConfig, n, maxVehicles)
	}
	list := make([]Identity, n)
	for i := range list {
		vid, err := protocol.ParseVehicleID(fmt.Sprintf("%s-%05d", prefix, i+1))
		if err != nil {
			return nil, err
		}
		list[i] = Identity{Vehicle: vid, Device: protocol.DeviceID(vid + "-tcu")}
		if _, err := protocol.ParseDeviceID(string(list[i].Device)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// issuedAtOnce bounds the command line of one call.
const issuedAtOnce = 1000

// Issue has the development authority of a cloud's data folder make certificates
// for all of them, by running the telltale-cloud program, and gives the authority's
// own. The private keys are on disk for no longer than that takes.
func Issue(ctx context.Context, program, cloudDir string, list []Identity) (*x509.CertPool, error) {
	dir, err := os.MkdirTemp("", "telltale-fleet-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	defer os.RemoveAll(dir)
	for part := range slices.Chunk(list, issuedAtOnce) {
		args := []string{"dev-cert", "--data", cloudDir, "--out", dir}
		for _, v := range part {
			args = append(args, string(v.Vehicle), string(v.Device))
		}
		if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("certificates: %w: %s", err, strings.TrimSpace(string(out)))
		}
	}
	for i := range list {
		name := filepath.Join(dir, string(list[i].Device))
		if list[i].Certificate, err = tls.LoadX509KeyPair(name+".crt", name+".key"); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	return Authority(filepath.Join(dir, "ca.crt"))
}

// Authority reads the certificates that sign those of brokers, PEM.
func Authority(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("certificate authority: expected a PEM certificate")
	}
	return pool, nil
}
