package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/firmware-images/image"
)

// identity is what a device needs.
var identity = map[string][]byte{"device.crt": []byte("c"), "device.key": []byte("k"), "ca.crt": []byte("a"), "endpoint": []byte("h:1\n")}

func TestIdentityRefusals(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := image.WriteIdentity(disk, identity); err == nil || !strings.Contains(err.Error(), "expected a GPT") {
		t.Errorf("no partition table: got %v", err)
	}
	if err := image.WriteIdentity(disk, map[string][]byte{"device.crt": []byte("c")}); err == nil || !strings.HasPrefix(err.Error(), "identity: device.key: ") {
		t.Errorf("no key: got %v", err)
	}
	data, err := os.ReadFile(disk)
	if err != nil || !bytes.Equal(data, make([]byte, 1<<20)) {
		t.Error("something was written")
	}
}

func TestBoardRefusals(t *testing.T) {
	for says, change := range map[string][2]string{
		"board.yaml: name: expected":                            {"name: qemu-arm64", "name: QEMU"},
		"board.yaml: boot.device: expected":                     {"device: virtio 0", "device: ''"},
		"board.yaml: boot.scratch: expected":                    {"scratch: 0x48000000", "scratch: 0"},
		"board.yaml: u-boot: expected":                          {"package: u-boot-qemu", "package: ''"},
		"board.yaml: yaml: ":                                    {"u-boot:", "uboot:"},
		"board.yaml: files: expected an etc/telltale/init.yaml": {"etc/telltale/init.yaml", "etc/init.yaml"},
	} {
		text, err := os.ReadFile("../qemu-arm64/board.yaml")
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), change[0], change[1], 1)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "board.yaml"), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := image.LoadBoard(dir); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("got %v, want it to begin with %q", err, says)
		}
	}
}
