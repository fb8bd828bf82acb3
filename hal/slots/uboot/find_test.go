package uboot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
)

// system makes the files of /sys and /proc that Find reads: device → partition name.
func system(t *testing.T, cmdline string, named map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{"proc/cmdline": cmdline}
	for device, name := range named {
		files["sys/class/block/"+device+"/uevent"] = "MAJOR=254\nDEVNAME=" + device + "\nDEVTYPE=partition\nPARTN=1\nPARTNAME=" + name + "\n"
	}
	files["sys/class/block/vda/uevent"] = "MAJOR=254\nDEVNAME=vda\nDEVTYPE=disk\n"
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFind(t *testing.T) {
	good := map[string]string{"vda2": "boot-state", "vda3": "slot-a", "vda4": "slot-b", "vda5": "data"}
	for line, want := range map[string]slots.Slot{
		"console=ttyAMA0 telltale.slot=B panic=5\n": "B",
		"telltale.slot=A": "A",
		"telltale.slot=C": "",
		"quiet":           "",
	} {
		root := system(t, line, good)
		got, err := uboot.Find(root)
		if err != nil {
			t.Fatal(err)
		}
		if got.Booted != want || got.State != filepath.Join(root, "dev/vda2") || got.Images["A"] != filepath.Join(root, "dev/vda3") ||
			got.Images["B"] != filepath.Join(root, "dev/vda4") || got.Offset != 0 {
			t.Errorf("%s: got %+v", line, got)
		}
	}
	for says, named := range map[string]map[string]string{
		"no partition is named boot-state":                    {},
		"no partition is named slot-b":                        {"vda2": "boot-state", "vda3": "slot-a"},
		"several partitions are named boot-state: vda2, vdb1": {"vda2": "boot-state", "vdb1": "boot-state"},
	} {
		if _, err := uboot.Find(system(t, "", named)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

func TestPartition(t *testing.T) {
	root := system(t, "", map[string]string{"mmcblk0p6": "data"})
	if got, err := uboot.Partition(root, "data"); err != nil || got != filepath.Join(root, "dev/mmcblk0p6") {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := uboot.Partition(root, "identity"); err == nil || err.Error() != "no partition is named identity" {
		t.Errorf("got %v, want the name", err)
	}
}
