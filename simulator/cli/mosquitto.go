package cli

import (
	"net"

	"telltale.dev/simulator/shell"
	"telltale.dev/simulator/world"
)

// mosquitto is the command line of one of mosquitto's clients.
func mosquitto(program, broker string, creds world.Credentials, args ...string) string {
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		host, port = broker, "8883"
	}
	return shell.Command(program, append([]string{"-V", "5", "-h", host, "-p", port,
		"--cafile", creds.CA, "--cert", creds.Cert, "--key", creds.Key}, args...)...)
}

// absolutes are the credentials for a line that is pasted in another folder.
func absolutes(c world.Credentials) world.Credentials {
	return world.Credentials{Cert: shell.Absolute(c.Cert), Key: shell.Absolute(c.Key), CA: shell.Absolute(c.CA)}
}
