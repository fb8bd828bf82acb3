package qemu

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

var binaries = map[Arch]string{ARM64: "qemu-system-aarch64", ARM: "qemu-system-arm", AMD64: "qemu-system-x86_64"}

var packages = map[Arch]string{ARM64: "qemu-system-arm", ARM: "qemu-system-arm", AMD64: "qemu-system-x86"}

// firstChannel is the descriptor number of the first channel: those before are the standard ones.
const firstChannel = 3

// arguments builds QEMU's command line.
func arguments(cfg Config) ([]string, error) {
	if err := check(cfg); err != nil {
		return nil, err
	}
	args := []string{"-nodefaults", "-display", "none", "-serial", "stdio",
		"-m", strconv.Itoa(cmp.Or(cfg.Memory, 512)), "-smp", strconv.Itoa(cmp.Or(cfg.CPUs, 1))}
	args = append(args, board(cfg.Arch, cfg.CPU)...)
	if !cfg.Reboots {
		args = append(args, "-no-reboot")
	}
	for _, o := range []struct{ flag, value string }{{"-kernel", cfg.Kernel}, {"-initrd", cfg.Initrd},
		{"-append", cfg.Append}, {"-bios", cfg.BIOS}, {"-dtb", cfg.DTB}} {
		if o.value != "" {
			args = append(args, o.flag, o.value)
		}
	}
	return append(append(args, devices(cfg)...), cfg.Args...), nil
}

func check(cfg Config) error {
	switch {
	case binaries[cfg.Arch] == "":
		return fmt.Errorf("qemu: architecture %q: expected arm64, arm or amd64", cfg.Arch)
	case (cfg.Kernel == "") == (cfg.BIOS == ""):
		return errors.New("qemu: expected one of Kernel and BIOS")
	case len(cfg.Forward) > 0 && !cfg.Network:
		return errors.New("qemu: Forward: expected Network")
	case cfg.Memory < 0 || cfg.CPUs < 0 || cfg.CAN < 0:
		return errors.New("qemu: expected Memory, CPUs and CAN not below 0")
	case cfg.CAN > 0 && !HasCAN(cfg.Arch):
		return fmt.Errorf("qemu: CAN: expected 0 on %s, which has no PCI", cfg.Arch)
	}
	names := slices.Clone(cfg.Channels)
	if cfg.MonitorChannel != "" {
		names = append(names, cfg.MonitorChannel)
	}
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, ",=/ ") {
			return fmt.Errorf("qemu: channel %q: expected a name without commas, equal signs, slashes and blanks", name)
		}
	}
	for _, d := range cfg.Drives {
		if _, err := os.Stat(d.Path); err != nil {
			return fmt.Errorf("qemu: drive: %w", err)
		}
	}
	return nil
}

// board chooses the machine, its processor and how it is run.
func board(arch Arch, cpu string) []string {
	accelerator := "tcg"
	if kvm(arch) {
		accelerator = "kvm"
	}
	switch arch {
	case ARM64:
		return []string{"-machine", "virt", "-cpu", cmp.Or(cpu, "cortex-a53"), "-accel", accelerator}
	case ARM:
		return []string{"-machine", "virt,highmem=off", "-cpu", cmp.Or(cpu, "cortex-a15"), "-accel", accelerator}
	default:
		return []string{"-machine", "q35", "-cpu", cmp.Or(cpu, "max"), "-accel", accelerator}
	}
}

// bus is how virtio devices are attached: on a 32-bit ARM guest PCI does not work.
func bus(arch Arch) string {
	if arch == AMD64 {
		return "-pci"
	}
	return "-device"
}

func devices(cfg Config) []string {
	b := bus(cfg.Arch)
	args := []string{"-device", "virtio-rng" + b}
	if len(cfg.Channels) > 0 || cfg.MonitorChannel != "" || cfg.TPM != nil {
		args = append(args, "-device", "virtio-serial"+b)
	}
	for i, name := range cfg.Channels {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=channel%d,fd=%d", i, firstChannel+i),
			"-device", fmt.Sprintf("virtserialport,chardev=channel%d,name=%s", i, name))
	}
	if cfg.MonitorChannel != "" { // both ends are QEMU's own
		fd := firstChannel + len(cfg.Channels)
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fd), "-mon", "chardev=monitor,mode=readline",
			"-chardev", fmt.Sprintf("socket,id=commands,fd=%d", fd+1),
			"-device", "virtserialport,chardev=commands,name="+cfg.MonitorChannel)
	}
	for i, d := range cfg.Drives {
		format := d.Format
		if format == "" {
			format = "raw"
		}
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=drive%d,format=%s,readonly=%s,snapshot=%s,file=%s",
				i, format, onOff(d.ReadOnly), onOff(d.Snapshot), strings.ReplaceAll(d.Path, ",", ",,")),
			"-device", fmt.Sprintf("virtio-blk%s,drive=drive%d", b, i))
	}
	if cfg.Network {
		forward := ""
		for _, host := range slices.Sorted(maps.Keys(cfg.Forward)) {
			forward += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", host, cfg.Forward[host])
		}
		args = append(args, "-netdev", "user,id=net0"+forward, "-device", "virtio-net"+b+",netdev=net0")
	}
	if cfg.CAN > 0 {
		args = append(args, "-object", "can-bus,id=canbus0")
	}
	for range cfg.CAN {
		args = append(args, "-device", "kvaser_pci,canbus=canbus0")
	}
	return append(args, tpm(cfg)...)
}

// HasCAN says whether a machine of this architecture can have CAN controllers.
func HasCAN(arch Arch) bool { return arch != ARM }

// tpm attaches swtpm's socket.
func tpm(cfg Config) []string {
	if cfg.TPM == nil {
		return nil
	}
	args := []string{"-chardev", "socket,id=tpm,path=" + cfg.TPM.socket()}
	if hasTIS(cfg.Arch) {
		return append(args, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0")
	}
	return append(args, "-device", "virtserialport,chardev=tpm,name="+TPMChannel)
}

// virtual are the processor flags without which KVM cannot work.
var virtual = regexp.MustCompile(`\b(vmx|svm)\b`)

// kvm says whether the guest can run on the processor itself.
func kvm(arch Arch) bool {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" || arch != AMD64 {
		return false
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	device.Close()
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "flags") {
			return virtual.MatchString(lines.Text())
		}
	}
	return false
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
