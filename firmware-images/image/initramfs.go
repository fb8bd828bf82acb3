package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"go.yaml.in/yaml/v3"

	"telltale.dev/firmware-images/initramfs"
	boardsettings "telltale.dev/firmware-images/settings"
)

// Paths in the image that the agent and telltale-init look at.
const (
	agentPath = "etc/telltale/agent.yaml"
	initPath  = "etc/telltale/init.yaml"
	keysDir   = "etc/telltale/update-keys"
	builtPath = "etc/telltale/built" // no clock is before it
)

// initramfs writes the compressed root file system.
func (b *build) initramfs(ctx context.Context, r *Result) error {
	a := &initramfs.Archive{}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "run", "data", "root", "etc"} {
		a.Dir(dir, 0o755)
	}
	a.CharDevice("dev/console", 0o600, 5, 1) // the kernel opens it before anything is mounted
	for name, file := range map[string]string{"init": b.goes["telltale-init"], "bin/telltale-agent": b.goes["telltale-agent"]} {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		a.File(name, 0o755, data)
	}
	if err := b.modules(ctx, a); err != nil {
		return err
	}
	if err := b.fileSystemTools(ctx, a); err != nil {
		return err
	}
	if err := b.settings(a); err != nil {
		return err
	}
	if err := b.thirdParty(ctx, a, r); err != nil {
		return err
	}
	for name, data := range b.cfg.Files {
		a.File(name, 0o755, data)
	}
	var plain bytes.Buffer
	if _, err := a.WriteTo(&plain); err != nil {
		return err
	}
	return compress(filepath.Join(b.work, initramfsFile), plain.Bytes(), b.board.Kernel.Initramfs)
}

// modules adds the kernel modules and the order in which to load them.
func (b *build) modules(ctx context.Context, a *initramfs.Archive) error {
	params := map[string]string{}
	names := func(list []string) (names []string) {
		for _, line := range list {
			name, rest, _ := strings.Cut(line, " ")
			names = append(names, name)
			params[strings.ReplaceAll(name, "-", "_")] = rest
		}
		return names
	}
	buses := names(b.board.Kernel.BusModules)
	modules, err := b.kernel.Modules(ctx, append(buses, names(b.board.Kernel.Modules)...)...)
	if err != nil {
		return err
	}
	first, err := b.kernel.Modules(ctx, buses...) // with what they need: the beginning of all
	if err != nil {
		return err
	}
	var order strings.Builder
	for i, m := range modules {
		if i > 0 && i == len(first) {
			order.WriteByte('\n') // telltale-init opens the buses here
		}
		a.File("lib/modules/"+m.Name+".ko", 0o644, m.Data)
		fmt.Fprintln(&order, strings.TrimSpace(m.Name+" "+params[m.Name]))
	}
	a.File("lib/modules/order", 0o644, []byte(order.String()))
	return nil
}

// settings adds the board's files and what this firmware says of itself.
func (b *build) settings(a *initramfs.Archive) error {
	for name, source := range b.board.Files {
		data, err := os.ReadFile(filepath.Join(b.board.dir, source))
		if err != nil {
			return fmt.Errorf("board.yaml: files: %w", err)
		}
		a.File(name, 0o644, data)
	}
	keys, err := os.ReadFile(b.keys.path(updateKey + ".pub"))
	if err != nil {
		return err
	}
	agent, err := b.agentSettings()
	if err != nil {
		return err
	}
	a.File(agentPath, 0o644, agent)
	a.File(keysDir+"/update.pem", 0o644, keys)
	a.File(builtPath, 0o644, []byte(b.cfg.Epoch.UTC().Format(time.RFC3339)+"\n"))
	return nil
}

// agentSettings are those of the board's agent.yaml and what this firmware is.
func (b *build) agentSettings() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(b.board.dir, b.board.Files[agentPath]))
	if err != nil {
		return nil, fmt.Errorf("board.yaml: files: %w", err)
	}
	settings := map[string]any{}
	in := yaml.NewDecoder(bytes.NewReader(text))
	if err := in.Decode(&settings); err != nil {
		return nil, fmt.Errorf("%s: %w", b.board.Files[agentPath], err)
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: expected one YAML document", b.board.Files[agentPath])
	}
	if data := settings["data"]; data != boardsettings.AgentData {
		return nil, fmt.Errorf("%s: data: expected %s, which telltale-init gives to the agent's user, found %v", b.board.Files[agentPath], boardsettings.AgentData, data)
	}
	update, _ := settings["update"].(map[string]any)
	if update == nil {
		update = map[string]any{}
	}
	update["keys"], update["board"], update["version"], update["release"] = "/"+keysDir, b.board.Name, b.cfg.Version, b.cfg.Release
	settings["update"], settings["slots"] = update, "owner:"+boardsettings.SlotsSocket
	return yaml.Marshal(settings)
}

// initramfsFile is the compressed root file system in the builder's folder.
const initramfsFile = "initramfs.compressed"

// compress writes data in one of the forms that the kernel unpacks, "" being zstd. The encoders are our own, so that the bytes do
// not depend on the machine's tools.
func compress(path string, data []byte, form string) error {
	if form != lz4Form {
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		return os.WriteFile(path, encoder.EncodeAll(data, nil), 0o644)
	}
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	// The kernel reads the legacy frame only (lib/decompress_unlz4.c).
	if err := w.Apply(lz4.LegacyOption(true), lz4.CompressionLevelOption(lz4.Level9), lz4.ConcurrencyOption(1)); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// gzipped does the same in the form that every U-Boot understands.
func gzipped(path string, data []byte) error {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
