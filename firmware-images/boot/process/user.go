//go:build linux

package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is who a program runs as, and what it may do beyond its own files. The program, and all that it starts,
// can never gain more, unless it is root: no_new_privs is set, and its bounding set holds no capability but CAP_NET_ADMIN,
// and that only with NetAdmin (capabilities(7)).
type User struct {
	// ID is the number of the user and of its only group; 0 is root, who may do all.
	ID int
	// NetAdmin gives the capability CAP_NET_ADMIN, for buses that the program must set up itself.
	NetAdmin bool
	// Cgroup is the open folder of the control group in which the program starts; nil: that of this process.
	Cgroup *os.File
}

// attributes are what the kernel sets up between fork and exec.
func (u User) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if u.ID == 0 {
		return a
	}
	a.Credential = &syscall.Credential{Uid: uint32(u.ID), Gid: uint32(u.ID)}
	if u.NetAdmin {
		a.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	if u.Cgroup != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(u.Cgroup.Fd())
	}
	return a
}

// confined calls start on a thread that can never gain privileges: what start starts inherits that.
// The thread ends afterwards, and with it what was taken from it; the others keep all rights.
func (u User) confined(start func() error) error {
	if u.ID == 0 {
		return start()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() { // the main thread cannot end: while it waits here, another thread does it
			defer runtime.UnlockOSThread()
			result <- u.confined(start)
			return
		}
		err := u.confine() // from here on the thread stays locked, and ends with this goroutine
		if err == nil {
			err = start()
		}
		result <- err
	}()
	return <-result
}

// confine takes from the calling thread's bounding set all capabilities but the user's, and sets no_new_privs.
func (u User) confine() error {
	for c := uintptr(0); ; c++ {
		if u.NetAdmin && c == unix.CAP_NET_ADMIN {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > unix.CAP_SYS_ADMIN { // the kernel knows no more of them
			break
		}
		if err != nil {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// rights are what the kernel says of a process: the lines of /proc/PID/status about user, group and capabilities, in one line.
func rights(pid int) string {
	return rightsIn(fmt.Sprintf("/proc/%d/status", pid))
}

// rightsIn reads them from a file of /proc.
func rightsIn(status string) string {
	text, err := os.ReadFile(status)
	if err != nil {
		return "unknown"
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Uid", "Gid", "CapEff", "CapPrm", "CapAmb", "CapBnd", "NoNewPrivs":
			all = append(all, name+" "+strings.Join(strings.Fields(value), " "))
		}
	}
	return strings.Join(all, ", ")
}
