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

// TestBoardFiles: what the machine would refuse or lose is refused when the image is built.
func TestBoardFiles(t *testing.T) {
	for _, test := range []struct{ name, from, to, init, says string }{
		{"well", "", "", "agent: {command: [/bin/telltale-agent]}\n", ""},
		{"init.yaml", "", "", "agent: {command: [/bin/telltale-agent], tires: 3}\n", "init.yaml: yaml: "},
		{"empty init.yaml", "", "", "", "init.yaml: EOF"},
		{"replaces init", "etc/telltale/can0.dbc:", "init:", "", "board.yaml: files: init: expected a path that is not the image's own"},
		{"replaces the agent", "etc/telltale/can0.dbc:", "bin/telltale-agent:", "", "board.yaml: files: bin/telltale-agent: expected a path that is not"},
		{"replaces modules", "etc/telltale/can0.dbc:", "lib/modules/order:", "", "board.yaml: files: lib/modules/order: expected a path that is not"},
		{"absolute", "etc/telltale/can0.dbc:", "/etc/can0.dbc:", "", "board.yaml: files: \"/etc/can0.dbc\": expected a path such as"},
		{"not clean", "etc/telltale/can0.dbc:", "etc/../init:", "", "board.yaml: files: \"etc/../init\": expected a path such as"},
		{"two documents", "# QEMU", "name: a\n---\n# QEMU", "", "board.yaml: expected one YAML document"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := os.ReadFile("../qemu-arm64/board.yaml")
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, content := range map[string]string{"board.yaml": strings.Replace(string(text), test.from, test.to, 1), "init.yaml": test.init} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err = image.LoadBoard(dir)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.HasPrefix(err.Error(), test.says)) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
	for _, board := range []string{"qemu-arm64", "rpi-cm4"} {
		if _, err := image.LoadBoard("../" + board); err != nil {
			t.Errorf("%s: %v", board, err)
		}
	}
}

func TestBoardRefusals(t *testing.T) {
	for says, change := range map[string][2]string{
		"board.yaml: name: expected":                            {"name: qemu-arm64", "name: QEMU"},
		"board.yaml: boot.device: expected":                     {"device: virtio 0", "device: ''"},
		"board.yaml: kernel.initramfs: expected zstd or lz4":    {"initramfs: lz4", "initramfs: xz"},
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
