package link

import "net"

// Address is where an endpoint is dialled.
func Address(s string) (host, port string, err error) {
	e, err := parseEndpoint(s)
	if err != nil {
		return "", "", err
	}
	return net.SplitHostPort(e.address)
}

// PacketSize is the size that is compared with the server's maximum.
var PacketSize = packetSize
