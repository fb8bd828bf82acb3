package rig_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"telltale.dev/firmware-images/image"
)

// TestComputeModule builds the image of the Raspberry Pi's module and looks at it
// as far as that goes without one: partitions, firmware files, device tree, and
// the signature of its slot, which U-Boot of the virtual board verifies.
func TestComputeModule(t *testing.T) {
	shared := newBench(t)
	t.Parallel()
	cfg := shared.config(filepath.Join(root, ".cache", "images", "test-cm4"), "1.0.0", baseRelease)
	cfg.Board = filepath.Join(root, "firmware-images", "rpi-cm4")
	r := shared.build(t, cfg)
	if got := strings.Join(r.Missing, " "); got != "u-boot.bin start4.elf fixup4.dat" {
		t.Errorf("missing: got %q, want what only the maker has", got)
	}
	slotAt, _ := partitionsOf(t, r.Disk)
	slot, err := os.ReadFile(r.Slot)
	if err != nil {
		t.Fatal(err)
	}
	if onDisk := readAt(t, r.Disk, slotAt, len(slot)); !bytes.Equal(onDisk, slot) {
		t.Error("slot A does not hold the slot's content")
	}
	firmwareFiles(t, r)
	tree := filepath.Join(t.TempDir(), "slot.dtb")
	output(t, "dumpimage", "-T", "flat_dt", "-p", "2", "-o", tree, r.Slot)
	for _, want := range [][2]string{
		{"/soc/spi@7e204000/can@0", "microchip,mcp251xfd"}, {"/soc/spi@7e204000/tpm@1", "infineon,slb9670"},
	} {
		if got := strings.TrimSpace(output(t, "fdtget", tree, want[0], "compatible")); got != want[1] {
			t.Errorf("%s: got %q, want %q", want[0], got, want[1])
		}
	}
	b := newBoard(t, shared) // it has the same key
	if err := b.Overwrite("slot-a", 0, slot); err != nil {
		t.Fatal(err)
	}
	b.on()
	b.says(time.Minute, "sha256,rsa3072:firmware+ OK", "Trying 'kernel' kernel subimage", "sha256+ OK")
}

// partitionsOf wants the partitions that a board has, and gives the places of slot A and firmware.
func partitionsOf(t *testing.T, disk string) (slotA, firmware int64) {
	t.Helper()
	for name, at := range map[string]*int64{"firmware": &firmware, "boot-state": nil, "slot-a": &slotA, "slot-b": nil, "identity": nil, "data": nil} {
		start, size, err := image.FindPartition(disk, name)
		if err != nil || size == 0 || start%(1<<20) != 0 {
			t.Errorf("%s: got start %d, size %d, %v", name, start, size, err)
		}
		if at != nil {
			*at = start
		}
	}
	return slotA, firmware
}

// firmwareFiles wants config.txt and the control device tree in the firmware partition.
func firmwareFiles(t *testing.T, r *image.Result) {
	t.Helper()
	start, size, err := image.FindPartition(r.Disk, "firmware")
	if err != nil {
		t.Fatal(err)
	}
	fat := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(fat, readAt(t, r.Disk, start, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := output(t, "mtype", "-i", fat, "::config.txt"); !strings.Contains(text, "kernel=u-boot.bin") {
		t.Errorf("config.txt: got %q", text)
	}
	control, err := os.ReadFile(r.Control)
	if err != nil {
		t.Fatal(err)
	}
	if got := output(t, "mtype", "-i", fat, "::bcm2711-rpi-cm4.dtb"); got != string(control) {
		t.Error("the device tree there is not control.dtb")
	}
	if got := strings.TrimSpace(output(t, "fdtget", r.Control, "/signature/key-firmware", "required")); got != "conf" {
		t.Errorf("key: required for %q, want conf", got)
	}
}

func readAt(t *testing.T, path string, at int64, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, n)
	if _, err := f.ReadAt(data, at); err != nil {
		t.Fatal(err)
	}
	return data
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return string(out)
}

// shellBlock is a block of commands in the guide.
var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestGuide runs the commands of the porting guide as they stand, in a copy of the sources.
func TestGuide(t *testing.T) {
	newBench(t) // fills the package cache
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join(root, "firmware-images", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := "set -eu\n"
	for _, block := range shellBlock.FindAllSubmatch(guide, -1) {
		script += string(block[1])
	}
	if strings.Count(script, "\n") < 6 {
		t.Fatalf("expected the guide's commands, got %q", script)
	}
	dir := t.TempDir()
	output(t, "cp", "-r", filepath.Join(root, "go.mod"), filepath.Join(root, "go.sum"), filepath.Join(root, "agent"), filepath.Join(root, "cloud"),
		filepath.Join(root, "hal"), filepath.Join(root, "protocol"), filepath.Join(root, "simulator"), filepath.Join(root, "firmware-images"), dir)
	if err := os.Mkdir(filepath.Join(dir, ".cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, ".cache", "debian"), filepath.Join(dir, ".cache", "debian")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000", "GOFLAGS=-trimpath")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	disk := filepath.Join(dir, ".cache", "images", "my-board", "disk.img")
	at, _, err := image.FindPartition(disk, image.IdentityPartition)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAt(t, disk, at, 512); !bytes.HasPrefix(got, []byte("ca.crt\x00")) {
		t.Errorf("identity: got %.20q, want a tar archive that begins with ca.crt", got)
	}
}
