package socketcan_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutRoot is README's way without root: a user who may nothing makes
// interfaces in a network of his own, and reads them. (Not the whole suite: his
// buffers are bounded by net.core.rmem_max, and hold about 550 frames.)
func TestWithoutRoot(t *testing.T) {
	if !mustRun() {
		t.Skip("starts as root: in the virtual machine only (make test-vm)")
	}
	const nobody = 65534
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "TestSuite/.*(kinds|filters|context|close)|TestEverybody|TestInterfaceEnds|TestDrops|TestLink", "-test.count", "1")
	cmd.Env, cmd.Dir = os.Environ(), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: true},
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: nobody, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: nobody, Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
