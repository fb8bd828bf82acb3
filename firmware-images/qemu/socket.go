//go:build unix

package qemu

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketPair gives two connected ends: ours, and the one that a child inherits.
func socketPair(name string) (net.Conn, *os.File, error) {
	ours, theirs, err := filePair(name)
	if err != nil {
		return nil, nil, err
	}
	conn, err := fileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// filePair gives the two ends of a stream socket, for children to inherit.
func filePair(name string) (*os.File, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}
