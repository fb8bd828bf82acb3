package main

import (
	"log/slog"
	"time"
)

// Settings are what the command line and the configuration file say of the
// agent, for each command that needs to know. A new setting is a new flag here,
// and a line in the example configuration.
type Settings struct {
	FromFile `embed:""`

	Data     string   `required:"" type:"path" placeholder:"DIR" help:"Folder for buffer, documents and schemas."`
	Can      []string `required:"" sep:"none" placeholder:"NAME=URL" help:"A bus, such as can0=virtual://127.0.0.1:4000/can0. May be repeated."`
	DBC      []string `name:"dbc" sep:"none" placeholder:"NAME=FILE" help:"A DBC file for a bus. May be repeated."`
	J1939    []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
	Endpoint []string `required:"" placeholder:"HOST:PORT" help:"A broker. Several are tried in turn."`
	Cert     string   `required:"" type:"path" placeholder:"FILE" help:"Device certificate (PEM)."`
	Key      string   `required:"" type:"path" placeholder:"FILE" help:"Its private key (PEM)."`
	CA       string   `required:"" name:"ca" type:"path" placeholder:"FILE" help:"Certificate authority of the broker (PEM)."`
	Campaign []string `type:"path" placeholder:"FILE" help:"Campaign in force until the cloud says otherwise. Default: everything."`

	KeepAlive     time.Duration `default:"60s" help:"MQTT keep-alive."`
	WillDelay     time.Duration `default:"15s" help:"How long the broker waits before it reports the vehicle lost."`
	SessionExpiry time.Duration `default:"300s" help:"Must be longer than the will delay."`
	BackoffMin    time.Duration `default:"1s" help:"Shortest wait between connection attempts."`
	BackoffMax    time.Duration `default:"5m" help:"Longest wait between connection attempts."`
	Window        int           `default:"16" help:"Publishes under way at once."`
	CommitUrgent  time.Duration `default:"1s" help:"What a power cut may cost of CS4 and above, in source time."`
	Commit        time.Duration `default:"10s" help:"What a power cut may cost of the other classes, in source time."`
	Buffer        string        `default:"256MiB" placeholder:"SIZE" help:"Bound of the buffer on disk."`
	Drain         time.Duration `default:"5s" help:"How long a stop may go on sending."`
	LogLevel      slog.Level    `default:"info" help:"debug, info, warn or error."`
}
