package world

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"telltale.dev/protocol/updates"
)

// startWait is how long a child may take to be ready.
const startWait = 20 * time.Second

// cloudReady is the line that the cloud prints once its ports are open.
type cloudReady struct {
	MQTT string `json:"mqtt"`
	HTTP string `json:"http"`
	// Download is where devices fetch update files.
	Download string `json:"download"`
}

// StartCloud starts the cloud and waits until it serves. Started again, it takes the same ports.
func (w *World) StartCloud(ctx context.Context) error {
	if err := w.LaunchCloud(); err != nil {
		return err
	}
	return w.AwaitCloud(ctx)
}

// LaunchCloud starts the cloud and does not wait.
func (w *World) LaunchCloud() error {
	ports := w.Ports()
	mqtt, http, download := ports.MQTT, ports.HTTP, ports.Download
	if mqtt == "" {
		mqtt, http = orFree(w.cfg.MQTT), orFree(w.cfg.HTTP)
	}
	if download == "" {
		download = cmp.Or(w.cfg.Download, updates.DownloadEndpoint(orFree(w.cfg.MQTT)))
	}
	ready := make(chan cloudReady, 1)
	// Recordings are played with the times they were made at: no bounds for those.
	args := []string{"run", "--dev", "--ahead", "0", "--late", "0", "--data", filepath.Join(w.cfg.Dir, "cloud"), "--mqtt", mqtt, "--http", http, "--download", download}
	if w.cfg.Flush > 0 {
		args = append(args, "--flush", w.cfg.Flush.String())
	}
	args = append(args, w.cfg.NATS.args()...)
	p, err := startProcess("telltale-cloud", w.cloudBin, w.logFile("cloud"), func(line []byte) {
		var r cloudReady
		if json.Unmarshal(line, &r) == nil && r.MQTT != "" {
			select {
			case ready <- r:
			default:
			}
		}
	}, args...)
	if err != nil {
		return err
	}
	w.ready = ready
	w.setCloud(p)
	return nil
}

// AwaitCloud waits until a launched cloud serves.
func (w *World) AwaitCloud(ctx context.Context) error {
	p := w.running()
	if w.ready == nil { // it served already
		return p.failure()
	}
	select {
	case r := <-w.ready:
		w.ready = nil
		return w.setPorts(func(p *Ports) { p.MQTT, p.HTTP, p.Download = r.MQTT, r.HTTP, r.Download })
	case <-p.done:
		return errors.Join(p.failure(), ctx.Err())
	case <-time.After(startWait):
		p.kill()
		return fmt.Errorf("telltale-cloud was not ready within %v: %s", startWait, p.tail.last())
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
}

func orFree(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

// KillCloud ends the cloud with SIGKILL.
func (w *World) KillCloud() {
	if p := w.running(); p != nil {
		p.kill()
	}
}

// CloudRunning says whether the cloud is powered.
func (w *World) CloudRunning() bool {
	p := w.running()
	return p != nil && p.running()
}

// FreezeCloud stops the cloud where it is, as a power cut does: it will never
// run again, and sees nothing of what happens to its disk before KillCloud.
func (w *World) FreezeCloud() {
	if p := w.running(); p != nil {
		p.freeze()
	}
}

// StopCloud ends the cloud in order: what it acknowledged is in the lake then.
func (w *World) StopCloud(ctx context.Context) error {
	p := w.running()
	if p == nil {
		return nil
	}
	w.setCloud(nil)
	return p.stop(ctx)
}

// Credentials are the files that a client of the broker needs.
type Credentials struct{ Cert, Key, CA string }

// Identity gives credentials of a device, made by the cloud's development authority.
func (w *World) Identity(ctx context.Context, vid, did, dir string) (Credentials, error) {
	return w.issue(ctx, dir, did, "dev-cert", "--data", filepath.Join(w.cfg.Dir, "cloud"), "--out", dir, vid, did)
}

// Operator gives credentials of fleet operations.
func (w *World) Operator(ctx context.Context, name string) (Credentials, error) {
	dir := filepath.Join(w.cfg.Dir, "certs")
	return w.issue(ctx, dir, name, "dev-cert", "--data", filepath.Join(w.cfg.Dir, "cloud"), "--out", dir, "--role", "operator", name)
}

func (w *World) issue(ctx context.Context, dir, name string, args ...string) (Credentials, error) {
	c := Credentials{
		Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), CA: filepath.Join(dir, "ca.crt"),
	}
	out, err := exec.CommandContext(ctx, w.cloudBin, args...).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return c, ctx.Err()
	case err != nil:
		return c, fmt.Errorf("certificate of %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return c, nil
}
