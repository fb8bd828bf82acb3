package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"telltale.dev/cloud"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/heap"
	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/signed"
	"telltale.dev/protocol/updates"
)

type runCommand struct {
	Data          string               `required:"" type:"path" placeholder:"DIR" help:"Folder for streams, lake and the development authority."`
	MQTT          string               `name:"mqtt" default:"127.0.0.1:8883" help:"Where vehicles connect."`
	HTTP          string               `name:"http" default:"127.0.0.1:8080" help:"Where the API listens; loopback only, until it has authentication."`
	Down          string               `name:"download" placeholder:"HOST:PORT" help:"Where devices fetch update files, or none. Default: beside the broker, the port after its."`
	Name          []string             `placeholder:"HOST" help:"A further name or address of this server, for its certificate. May be repeated."`
	NATS          string               `name:"nats" placeholder:"URL" help:"An external NATS server with JetStream instead of the embedded one."`
	Access        backbone.Credentials `embed:"" prefix:"nats-"`
	Dev           bool                 `help:"Let devices with a development certificate register themselves."`
	Flush         time.Duration        `default:"60s" help:"How long a sample may wait for its Parquet file."`
	Keep          string               `default:"4GiB" placeholder:"SIZE" help:"Bound of each stream on disk. What the lake has makes room from the half on; a stream that is full refuses with 0x97."`
	ingest.Times  `embed:""`
	QuotaMessages float64    `default:"200" help:"Messages a second that one vehicle may send."`
	QuotaBytes    string     `default:"2MiB" placeholder:"SIZE" help:"Bytes a second that one vehicle may send."`
	UpdateKey     []string   `type:"existingfile" placeholder:"FILE" help:"Public key (PEM) whose update files are taken. Default: anybody's; each device checks for itself. May be repeated."`
	MaxUpdate     string     `default:"1GiB" placeholder:"SIZE" help:"Bound of an update file."`
	Memory        string     `default:"1GiB" placeholder:"SIZE" help:"Heap size from which memory is collected eagerly. While there is work, garbage may take a quarter of it; at rest it is given back."`
	CORSOrigin    []string   `name:"cors-origin" placeholder:"ORIGIN" help:"Let web pages of this origin, such as https://ops.example, use the API (CORS). May be repeated. Default: none."`
	LogLevel      slog.Level `default:"info" help:"debug, info, warn or error."`
}

// burst is what a vehicle that was silent may send at once, in seconds of its quota: a tunnel is drained quickly.
const burst = 10

// Run is the cloud until ctx ends. Once its ports are open it prints them as one JSON line.
func (c *runCommand) Run(ctx context.Context) error {
	memory, err := protocol.ParseSizeFrom(c.Memory, cloud.LeastMemory)
	if err != nil {
		return fmt.Errorf("--memory: %w", err)
	}
	keep, err := protocol.ParseSizeFrom(c.Keep, cloud.LeastKeep)
	if err != nil {
		return fmt.Errorf("--keep: %w", err)
	}
	rate, err := protocol.ParseSizeFrom(c.QuotaBytes, cloud.LeastQuota)
	if err != nil {
		return fmt.Errorf("--quota-bytes: %w", err)
	}
	largest, err := protocol.ParseSizeFrom(c.MaxUpdate, cloud.LeastUpdate)
	if err != nil {
		return fmt.Errorf("--max-update: %w", err)
	}
	keys, err := c.updateKeys()
	if err != nil {
		return fmt.Errorf("--update-key: %w", err)
	}
	keeping, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { heap.Run(keeping, memory) })
	defer background.Wait()
	defer stop()
	limits := backbone.Limits{MaxBytes: keep}
	running, err := cloud.New(ctx, cloud.Config{
		Dir: c.Data, NATS: c.NATS, Credentials: c.Access, MQTT: c.MQTT, HTTP: c.HTTP, Download: c.download(), Names: c.Name, Version: protocol.BuildVersion(), Dev: c.Dev, Flush: c.Flush,
		UpdateKeys: keys, MaxUpdate: largest, Times: c.Times, Origins: c.CORSOrigin,
		Quota: ingest.Quota{
			Messages: c.QuotaMessages, MessagesBurst: max(1, burst*c.QuotaMessages),
			Bytes: float64(rate), BytesBurst: max(protocol.MaxPacket, burst*float64(rate)),
		},
		Limits: map[string]backbone.Limits{backbone.Up: limits, backbone.Low: limits, backbone.Dead: limits},
		Log:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel})),
	})
	if err != nil {
		return err
	}
	ready := map[string]string{"mqtt": running.MQTTAddr().String(), "http": running.HTTPAddr().String()}
	if addr := running.DownloadAddr(); addr != nil {
		ready["download"] = addr.String()
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	return running.Run(ctx)
}

// download is where update files are served; empty: nowhere.
func (c *runCommand) download() string {
	switch c.Down {
	case "":
		return updates.DownloadEndpoint(c.MQTT)
	case "none":
		return ""
	}
	return c.Down
}

// updateKeys reads the keys of --update-key.
func (c *runCommand) updateKeys() (signed.Keys, error) {
	files := make([][]byte, len(c.UpdateKey))
	for i, name := range c.UpdateKey {
		var err error
		if files[i], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return signed.ParseKeys(files...)
}

type openapiCommand struct {
	Out string `type:"path" placeholder:"FILE" help:"Write to FILE instead of standard output."`
}

// Run writes the description.
func (c *openapiCommand) Run() error {
	text, err := cloud.OpenAPI()
	if err != nil {
		return err
	}
	if c.Out != "" {
		return os.WriteFile(c.Out, text, 0o644)
	}
	_, err = os.Stdout.Write(text)
	return err
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run() error {
	fmt.Println(protocol.BuildVersion())
	return nil
}
