package cli

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"telltale.dev/protocol/updates"
)

// listening is an address that the cloud is going to listen on, and the flag that says so.
type listening struct {
	flag, address string
	port          string // of the address; empty before it was opened
}

// checkPorts opens what the cloud of telltale up will listen on, all at once, and closes it
// again, so that nothing is started when an address is wrong or taken. The error names the
// flags. download is empty for the port after the broker's.
func checkPorts(mqtt, http, download string) error {
	all := []listening{{flag: "--mqtt", address: mqtt}, {flag: "--http", address: http}, {flag: "--download", address: download}}
	if download == "" {
		all[2].address = updates.DownloadEndpoint(mqtt)
	}
	for i := range all {
		l, err := net.Listen("tcp", all[i].address)
		if err != nil {
			return portError(all[:i], all[i], download == "", err)
		}
		defer l.Close()
		_, all[i].port, _ = net.SplitHostPort(l.Addr().String())
	}
	return nil
}

// portError says why the last address cannot be listened on beside those that were opened before it.
// byDefault says that nobody chose the download address.
func portError(opened []listening, last listening, byDefault bool, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the address, which is in front already
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	byDefault = byDefault && last.flag == "--download"
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(last.address)
		for _, other := range opened {
			switch {
			case other.port != port:
			case byDefault:
				return fmt.Errorf("%s %s: devices fetch update files from port %s, the one after --mqtt's: expected another port, or --download ADDR for them", other.flag, other.address, port)
			default:
				return fmt.Errorf("%s and %s: both are port %s: expected different ones", other.flag, last.flag, port)
			}
		}
	}
	if byDefault {
		return fmt.Errorf("%s, the port after --mqtt's, for update files: %w: expected one that is free, chosen by --download ADDR", last.address, err)
	}
	return fmt.Errorf("%s %s: %w: expected HOST:PORT that is free on this machine", last.flag, last.address, err)
}
