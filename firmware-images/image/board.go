package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/firmware-images/settings"
)

// Board describes the hardware an image is for: the board.yaml of a folder below firmware-images.
type Board struct {
	Name string `yaml:"name"` // as in update files
	// Virtual boards have a cable to their bus and a port to their TPM in place of hardware.
	Virtual bool `yaml:"virtual"`
	Kernel  struct {
		// BusModules are those of Modules that the buses need: they are loaded first, so that nothing
		// that a bus says is lost while the others are.
		BusModules []string `yaml:"bus-modules"`
		// Modules are loaded at start, with all that they need before them.
		// A module's parameters may follow its name.
		Modules []string `yaml:"modules"`
		// DeviceTree is a file of the kernel's package, below usr/lib/linux-image-*; ""
		// leaves the one that U-Boot has.
		DeviceTree string `yaml:"device-tree"`
		// Additions are device tree sources of the board's folder that say more about
		// it. They name its nodes by path, &{/soc/...}: Debian's trees have no labels.
		Additions []string `yaml:"additions"`
		Load      uint32   `yaml:"load"` // where U-Boot puts the kernel
		// Initramfs is how the root file system is packed. zstd, or "", is the smaller one, by a third: fewer bytes to download,
		// to read and to verify. lz4 costs the kernel half as many instructions to start, for processors to which these matter more.
		Initramfs string `yaml:"initramfs"`
	} `yaml:"kernel"`
	Boot struct {
		Device  string `yaml:"device"`  // U-Boot's name of the disk, such as "virtio 0"
		Prepare string `yaml:"prepare"` // U-Boot command that makes it appear
		Scratch uint32 `yaml:"scratch"` // where U-Boot may put the slot's content and, 1 MiB below, the boot state
		Args    string `yaml:"args"`    // the kernel's command line
	} `yaml:"boot"`
	UBoot struct {
		Package string `yaml:"package"` // Debian package that has it; "": Config.Vendor has it
		File    string `yaml:"file"`    // in the package
	} `yaml:"u-boot"`
	Disk struct {
		Firmware string `yaml:"firmware"` // size of a partition for the board's own firmware, FAT; "": none
		Slot     string `yaml:"slot"`     // size of each slot
		Data     string `yaml:"data"`     // size of the data partition
	} `yaml:"disk"`
	// Firmware is what the firmware partition holds, for boards that start from one.
	Firmware struct {
		Files  map[string]string `yaml:"files"`  // name → file of the board's folder, or control.dtb
		Vendor []string          `yaml:"vendor"` // files of Config.Vendor: the maker's, which we do not have
	} `yaml:"firmware"`
	// Files of the image by their path in it. Sources are relative to the board's folder.
	Files map[string]string `yaml:"files"`

	dir string // the board's folder
}

// The values of Board.Kernel.Initramfs.
const (
	zstdForm = "zstd"
	lz4Form  = "lz4"
)

// boardName is what the manifest of an update file takes.
var boardName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

// LoadBoard reads the board.yaml of a folder.
func LoadBoard(dir string) (*Board, error) {
	text, err := os.ReadFile(filepath.Join(dir, "board.yaml"))
	if err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	b := &Board{dir: dir}
	in := yaml.NewDecoder(bytes.NewReader(text))
	in.KnownFields(true)
	if err := in.Decode(b); err != nil {
		return nil, fmt.Errorf("board.yaml: %w", err)
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("board.yaml: expected one YAML document")
	}
	for _, c := range []struct {
		ok            bool
		key, expected string
	}{
		{boardName.MatchString(b.Name), "name", "up to 64 lower case letters, digits, points and hyphens"},
		{len(b.Kernel.Modules) > 0, "kernel.modules", "a list of kernel modules"},
		{b.Kernel.Load != 0, "kernel.load", "an address in the board's memory"},
		{len(b.Kernel.Additions) == 0 || b.Kernel.DeviceTree != "", "kernel.additions", "a kernel.device-tree to add them to"},
		{slices.Contains([]string{"", zstdForm, lz4Form}, b.Kernel.Initramfs), "kernel.initramfs", "zstd or lz4"},
		{b.Boot.Device != "", "boot.device", `U-Boot's name of the disk, such as "mmc 0"`},
		{b.Boot.Scratch > 1<<20, "boot.scratch", "an address in the board's memory, above the kernel"},
		{b.UBoot.File != "", "u-boot", "a file, and the package that has it or none"},
		{b.UBoot.Package != "" || b.Kernel.DeviceTree != "", "u-boot", "a package for the virtual board"},
		{(b.Disk.Firmware == "") == (len(b.Firmware.Vendor)+len(b.Firmware.Files) == 0), "disk.firmware", "a size if there are firmware files, else none"},
		{b.Files[initPath] != "", "files", "an " + initPath},
		{b.Files[agentPath] != "", "files", "an " + agentPath},
	} {
		if !c.ok {
			return nil, fmt.Errorf("board.yaml: %s: expected %s", c.key, c.expected)
		}
	}
	if err := b.checkFiles(); err != nil {
		return nil, err
	}
	return b, nil
}

// ours are the files and folders of the image that a board must leave alone.
var ours = []string{"init", "bin", "sbin", "dev", "proc", "sys", "lib/modules", "etc/mke2fs.conf", builtPath, keysDir + "/update.pem"}

// checkFiles looks at the paths of the board's files, and reads its init.yaml as the machine will.
func (b *Board) checkFiles() error {
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("board.yaml: files: %q: expected a path such as etc/telltale/init.yaml", name)
		}
		if slices.ContainsFunc(ours, func(o string) bool { return name == o || strings.HasPrefix(name, o+"/") }) {
			return fmt.Errorf("board.yaml: files: %s: expected a path that is not the image's own", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(b.dir, b.Files[initPath]))
	if err != nil {
		return fmt.Errorf("board.yaml: files: %w", err)
	}
	c, err := settings.Parse(text)
	if err != nil {
		return err
	}
	cabled := slices.ContainsFunc(c.Buses, func(bus settings.Bus) bool { return bus.Cable != "" })
	if (cabled || c.TPM != "") && !b.Virtual {
		return errors.New("init.yaml: cable and tpm: expected virtual: true in board.yaml beside them")
	}
	return nil
}

// arch is that of all boards so far.
const arch = debian.ARM64
