package rig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/firmware-images/image"
	"telltale.dev/firmware-images/rig"
)

// switchedOn turns these tests on: they need QEMU, the network at first, and minutes.
const switchedOn = "TELLTALE_IMAGE_TEST"

const vehicle = "anna"

// root is the repository's.
var root, _ = filepath.Abs(filepath.Join("..", ".."))

// bench is what the tests share: built once.
type bench struct {
	image    string // folder of the base image
	programs string
	epoch    time.Time
}

// release numbers of what is built: the base image's, and that of good updates.
const (
	baseRelease = 100
	goodRelease = 101
)

func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Getenv(switchedOn) == "" {
		t.Skipf("takes minutes; make test-image runs it (%s=1)", switchedOn)
	}
	b, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// shared builds programs and image once for all tests.
var shared = sync.OnceValues(func() (*bench, error) {
	b := &bench{
		image: filepath.Join(root, ".cache", "images", "test"), programs: filepath.Join(root, ".cache", "test-bin"),
		epoch: time.Unix(1_790_000_000, 0),
	}
	if err := goBuild(b.programs+"/", nil, "./cloud/cmd/telltale-cloud", "./simulator/cmd/telltale"); err != nil {
		return nil, err
	}
	_, err := image.Build(context.Background(), b.config(b.image, "1.0.0", baseRelease))
	return b, err
})

// goodUpdate builds once the update to 1.1.0 that all tests install. Its agent runs as another user than that of the base
// image: each update to it and each return finds files of a former owner.
var goodUpdate = sync.OnceValues(func() (string, error) {
	b, err := shared()
	if err != nil {
		return "", err
	}
	cfg := b.config(filepath.Join(root, ".cache", "images", "test-1.1.0"), "1.1.0", goodRelease)
	text, err := os.ReadFile(filepath.Join(root, "firmware-images", "qemu-arm64", "init.yaml"))
	if err != nil {
		return "", err
	}
	cfg.SlotOnly, cfg.Files = true, map[string][]byte{"etc/telltale/init.yaml": append(text, "  user: 991\n"...)}
	r, err := image.Build(context.Background(), cfg)
	if err != nil {
		return "", err
	}
	return r.Update, nil
})

// stranger builds once a firmware that is signed with keys which no board of the tests has.
var stranger = sync.OnceValues(func() (*image.Result, error) {
	b, err := shared()
	if err != nil {
		return nil, err
	}
	cfg := b.config(filepath.Join(root, ".cache", "images", "test-stranger"), "6.6.6", 666)
	cfg.Keys, cfg.SlotOnly = filepath.Join(root, ".cache", "images", "other-keys"), true
	return image.Build(context.Background(), cfg)
})

// must gives a value to a test, which an error ends.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (b *bench) config(out, version string, release uint64) image.Config {
	return image.Config{
		Root: root, Board: filepath.Join(root, "firmware-images", "qemu-arm64"), Out: out, Version: version, Release: release, Epoch: b.epoch,
		Keys: filepath.Join(root, ".cache", "images", "test-keys"), Cache: filepath.Join(root, ".cache", "debian"),
	}
}

func (b *bench) build(t *testing.T, cfg image.Config) *image.Result {
	t.Helper()
	r, err := image.Build(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// variant builds an update with changed files.
func (b *bench) variant(t *testing.T, version string, release uint64, files map[string][]byte) *image.Result {
	t.Helper()
	cfg := b.config(filepath.Join(t.TempDir(), version), version, release)
	cfg.Files, cfg.SlotOnly = files, true
	return b.build(t, cfg)
}

func goBuild(out string, env []string, packages ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", out}, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), append(env, "CGO_ENABLED=0")...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, text)
	}
	return nil
}

// board is a rig with what tests ask of it.
type board struct {
	*rig.Rig
	t     *testing.T
	bench *bench
}

// newBoard makes a fresh device that is off. Its folder is on the real disk.
func newBoard(t *testing.T, b *bench) *board {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, ".cache", "rig"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(filepath.Join(root, ".cache", "rig"), "test-")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "cloud.log"))
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(context.Background(), rig.Config{
		Image: b.image, Dir: dir, Programs: b.programs, Vehicle: vehicle, Device: "tcu-a", CloudLog: log, Console: screen,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		log.Close()
		screen.Close()
		if t.Failed() {
			text, _ := os.ReadFile(screen.Name())
			t.Logf("the board's console:\n%s", text[max(0, len(text)-16<<10):])
			return
		}
		os.RemoveAll(dir)
	})
	return &board{Rig: r, t: t, bench: b}
}

func (b *board) on() {
	b.t.Helper()
	if err := b.PowerOn(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// says waits until the console prints each text in order.
func (b *board) says(within time.Duration, texts ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), within)
	defer cancel()
	for _, text := range texts {
		if err := b.WaitFor(ctx, text); err != nil {
			b.t.Fatal(err)
		}
	}
}

// get asks the cloud.
func (b *board) get(path string, answer any) error {
	response, err := http.Get("http://" + b.Ports().HTTP + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s: %w", path, response.Status, text, err)
	}
	return json.Unmarshal(text, answer)
}

// eventually polls until ask is satisfied.
func (b *board) eventually(within time.Duration, what string, ask func() error) {
	b.t.Helper()
	err := errors.New("not asked")
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	b.t.Fatalf("%s: not within %v: %v", what, within, err)
}

// online waits until the cloud has the vehicle.
func (b *board) online(within time.Duration) {
	b.t.Helper()
	b.eventually(within, "online", func() error {
		var all []struct {
			VID     string
			Devices []struct{ Presence string }
		}
		if err := b.get("/v1/vehicles", &all); err != nil {
			return err
		}
		if len(all) != 1 || len(all[0].Devices) != 1 || all[0].Devices[0].Presence != "online" {
			return fmt.Errorf("got %+v", all)
		}
		return nil
	})
}

// lost waits until the cloud says what the vehicle's device lost.
func (b *board) lost(within time.Duration, want string) {
	b.t.Helper()
	b.eventually(within, "lost "+want, func() error {
		var devices []struct {
			Loss *struct {
				Storage, Reason string
				Over            *time.Time
			} `json:"data_lost"`
		}
		if err := b.get("/v1/vehicles/"+vehicle+"/presence", &devices); err != nil || len(devices) != 1 {
			return fmt.Errorf("got %+v, %v", devices, err)
		}
		got, loss := "nothing", devices[0].Loss
		if loss != nil {
			if got = loss.Storage; loss.Over != nil {
				got += ", over"
			}
			if loss.Reason == "" || strings.Contains(loss.Reason, "/dev/") {
				return fmt.Errorf("got reason %q", loss.Reason)
			}
		}
		if got != want {
			return fmt.Errorf("got %s (%+v)", got, loss)
		}
		return nil
	})
}

// firmware is what the cloud says of the vehicle's firmware.
type firmware struct {
	Devices []struct {
		Version string
		Release uint64
		Slot    string
		Trial   bool
	}
	Update *update
}

type update struct {
	ID, State, Reason, Detail string
	Ended                     bool
	Steps                     []struct{ State string }
}

// states are the steps of an update, for tables.
func (u *update) states() string {
	var all []string
	for _, s := range u.Steps {
		all = append(all, s.State)
	}
	return strings.Join(all, " ")
}

func (b *board) firmware() (f firmware, err error) {
	err = b.get("/v1/vehicles/"+vehicle+"/update", &f)
	return f, err
}

// runs waits until the vehicle says what runs on it.
func (b *board) runs(within time.Duration, version, slot string) {
	b.t.Helper()
	b.eventually(within, "runs "+version+" from slot "+slot, func() error {
		f, err := b.firmware()
		if err != nil {
			return err
		}
		if len(f.Devices) != 1 || f.Devices[0].Version != version || f.Devices[0].Slot != slot || f.Devices[0].Trial {
			return fmt.Errorf("got %+v", f.Devices)
		}
		return nil
	})
}

// start sends an update to the vehicle with the program that people use; it does not wait.
func (b *board) start(file string, args ...string) error {
	args = append([]string{"update", "start", vehicle, file, "--no-wait", "--api", "http://" + b.Ports().HTTP}, args...)
	out, err := exec.CommandContext(b.t.Context(), filepath.Join(b.bench.programs, "telltale"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("telltale update: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// ends waits until the newest update has ended.
func (b *board) ends(within time.Duration) *update {
	b.t.Helper()
	var last *update
	b.eventually(within, "the update ends", func() error {
		f, err := b.firmware()
		if err != nil {
			return err
		}
		if last = f.Update; last == nil || !last.Ended {
			return fmt.Errorf("got %+v", last)
		}
		return nil
	})
	return last
}
