package settings

import (
	"log/slog"
	"time"

	"telltale.dev/agent/network"
)

// Settings are what the command line and the configuration file say of the
// agent, for each command that needs to know. A new setting is a new flag here,
// and a line in the example configuration.
type Settings struct {
	FromFile `embed:""`
	Firmware `embed:""`

	Data     string   `required:"" type:"path" placeholder:"DIR" help:"Folder for buffer, documents and schemas."`
	Can      []string `required:"" sep:"none" placeholder:"BUS" help:"A bus: an interface (can0), NAME=INTERFACE, or NAME=URL such as can0=socketcan:can0?bitrate=500000 or can0=virtual://127.0.0.1:4000/can0. May be repeated."`
	DBC      []string `name:"dbc" sep:"none" placeholder:"NAME=FILE" help:"A DBC file for a bus. May be repeated."`
	J1939    []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
	Endpoint []string `required:"" placeholder:"HOST:PORT" help:"A broker. Several are tried in turn."`
	Cert     string   `required:"" type:"path" placeholder:"FILE" help:"Device certificate (PEM)."`
	Key      string   `required:"" type:"path" placeholder:"FILE" help:"Its private key (PEM)."`
	KeyUsers string   `enum:"trusted,all" default:"trusted" help:"Who may read the private key's file: trusted (its owner and its group) or all users of this machine; for trusted, the agent refuses a key that all can read."`
	CA       string   `required:"" name:"ca" type:"path" placeholder:"FILE" help:"Certificate authority of the broker (PEM)."`
	Campaign []string `type:"path" placeholder:"FILE" help:"Campaign in force until the cloud says otherwise. Default: none, so that nothing is collected."`

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
	StorageNote   string        `default:"none" placeholder:"FILE" help:"File in which the machine's start says that the data folder was lost, so that the cloud is told; none: nobody says."`

	PowerIgnition  string        `default:"none" placeholder:"URL" help:"Where the ignition is read: file:/run/telltale/ignition, gpio:/dev/gpiochip0?line=17 or none."`
	PowerWindow    time.Duration `default:"2m" help:"How long the agent may upload after the ignition is off; less when all is uploaded."`
	PowerAfter     string        `enum:"wait,suspend,stop" default:"wait" help:"What follows: wait, suspend or stop."`
	PowerWakeAfter time.Duration `default:"0s" help:"How long a sleep lasts before the agent uploads again; 0: until the ignition is on."`

	Network       string        `default:"routes" placeholder:"URL" help:"Where the link is looked at: routes (of the kernel), file:/run/telltale/link or none."`
	UploadMetered network.Limit `default:"all" help:"What may be uploaded over a link that costs money: all, urgent (CS4 and above) or none."`
	UploadRoaming network.Limit `default:"all" help:"The same for a link that roams."`

	Download     []string      `placeholder:"HOST:PORT" help:"Where update files come from. Several are tried in turn. Default: the brokers' hosts, the port after theirs."`
	UpdateHealth time.Duration `default:"5m" help:"How long a new firmware has until it is healthy and connected, unless the cloud says otherwise; else the former one runs again."`
	UpdateMax    string        `default:"1GiB" placeholder:"SIZE" help:"Bound of an update file."`

	LogLevel slog.Level `default:"info" help:"debug, info, warn or error."`
}

// Firmware are the settings of the firmware slots, for the commands that know them.
type Firmware struct {
	Slots         string `default:"none" placeholder:"URL" help:"The firmware slots: none, uboot (found by the partitions' names), uboot:state=FILE,a=FILE,b=FILE,booted=A, or owner:SOCKET of a process that owns them."`
	UpdateKeys    string `type:"path" default:"/etc/telltale/update-keys" placeholder:"DIR" help:"Folder of the public keys (*.pem) whose updates are trusted."`
	UpdateBoard   string `default:"generic" placeholder:"NAME" help:"The board that an update must be for."`
	UpdateVersion string `default:"unknown" placeholder:"TEXT" help:"Version of the firmware that runs. unknown: that of the agent."`
	UpdateRelease uint64 `default:"0" placeholder:"N" help:"Its release; older ones are refused. 0: unknown."`
}
