//go:build linux

package process

import (
	"net"
	"os"
	"strings"
)

// sign is what the agent tells, as systemd would be told by sd_notify(3): READY=1 and WATCHDOG=1.
type sign int

const (
	ready sign = iota + 1
	alive
)

// listen makes the socket, which belongs to the agent's user, and gives the signs that the agent sends.
func listen(say Say, socket string, user int) (<-chan sign, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if user != 0 {
		if err := os.Chown(socket, user, user); err != nil {
			return nil, err
		}
	}
	signs := make(chan sign, 8) // when full the next ones wait in the socket
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				say("notify: %v", err)
				return
			}
			for line := range strings.SplitSeq(string(buf[:n]), "\n") {
				switch line {
				case "READY=1":
					signs <- ready
				case "WATCHDOG=1":
					signs <- alive
				}
			}
		}
	}()
	return signs, nil
}
