package cloud

import (
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"telltale.dev/cloud/gate"
	"telltale.dev/cloud/provisioning"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

// Least sizes of settings, in bytes: below, a cloud would start and then refuse everything, or do nothing but
// collect memory.
const (
	LeastMemory = 64 << 20               // of the heap from which memory is collected eagerly
	LeastKeep   = 4 * protocol.MaxPacket // of a stream
	LeastQuota  = 1 << 10                // a second and vehicle
	LeastUpdate = 64 << 10               // of the bound of an update file
)

// places says how many connections each listener has at once. Each costs a file
// descriptor, and a process that has none left cannot store either.
type places struct {
	clients   int // vehicles and operators with an accepted CONNECT; more are refused with 0x89
	strangers int // connections to the broker before that; the oldest gives way to a newcomer
	downloads int // connections for update files; each may hold an open file too
	requests  int // connections of the API
}

// Descriptors that are not connections.
const (
	// reservedDescriptors are for what works behind the listeners: JetStream (some 50 in use, more while it
	// recovers), lake, registry, uploads, the runtime.
	reservedDescriptors = 384
	perDownload         = 2
)

// wantedPlaces are those of a cloud with enough file descriptors; leastPlaces are those below which it does not start.
func wantedPlaces() places {
	return places{clients: 20_000, strangers: 4096, downloads: 1024, requests: 512}
}

func leastPlaces() places { return places{clients: 64, strangers: 32, downloads: 16, requests: 32} }

// descriptors is what the places and all the rest need together.
func (p places) descriptors() int {
	return reservedDescriptors + p.clients + p.strangers + perDownload*p.downloads + p.requests
}

// within lowers the places to what a limit of file descriptors allows, each by the same part but not
// below its least. The error says which limit is needed.
func (p places) within(limit int) (places, error) {
	least := leastPlaces()
	if limit >= p.descriptors() {
		return p, nil
	}
	if limit < least.descriptors() {
		return places{}, fmt.Errorf("the limit of open files is %d, expected at least %d (ulimit -n, or LimitNOFILE= of a systemd unit); %d serve every vehicle",
			limit, least.descriptors(), p.descriptors())
	}
	spare, asked := limit-least.descriptors(), p.descriptors()-least.descriptors()
	lower := func(least, wanted int) int { return least + (wanted-least)*spare/asked }
	return places{
		clients: lower(least.clients, p.clients), strangers: lower(least.strangers, p.strangers),
		downloads: lower(least.downloads, p.downloads), requests: lower(least.requests, p.requests),
	}, nil
}

// allotPlaces raises the limit of file descriptors where that is allowed, and else lowers the places to what it allows.
func (c *Cloud) allotPlaces() (err error) {
	wanted := wantedPlaces()
	limit := raiseDescriptors(wanted.descriptors())
	c.places, err = wanted.within(limit)
	return err
}

// sayPlaces tells that fewer connections are taken than a cloud wants.
func (c *Cloud) sayPlaces() {
	if wanted := wantedPlaces(); c.places != wanted {
		c.cfg.Log.Warn("the limit of open files is low, so fewer connections are taken", "needed", c.places.descriptors(), "wanted", wanted.descriptors(),
			"clients", c.places.clients, "strangers", c.places.strangers, "downloads", c.places.downloads, "requests", c.places.requests)
	}
}

// raiseDescriptors makes the limit of file descriptors at least want, if it may, and gives the limit then.
func raiseDescriptors(want int) int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return want // nothing is known of a limit
	}
	if limit.Cur < uint64(want) {
		raised := syscall.Rlimit{Cur: uint64(want), Max: max(limit.Max, uint64(want))} // the superuser may
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) != nil {
			raised = syscall.Rlimit{Cur: min(uint64(want), limit.Max), Max: limit.Max}
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) // else the limit stays as it is
		}
		if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
			return want
		}
	}
	return int(min(limit.Cur, uint64(want)))
}

// Bounds of strangers: for the first message, and until they are known. Both are
// for slow mobile networks, where a packet that is lost comes again after one to three seconds.
const (
	helloWait    = 5 * time.Second
	strangerWait = 10 * time.Second
	// devicePlaces is how many connections for downloads one device has; a further one ends its oldest.
	devicePlaces = 4
)

// gateBroker puts the gate before the broker's listener.
func (c *Cloud) gateBroker(l net.Listener) net.Listener {
	return c.gate(l, gate.Config{
		Name: "mqtt", Places: c.places.clients + c.places.strangers, Strangers: c.places.strangers,
		PerAddress: max(1, c.places.strangers/4), // a fleet behind one address connects at once
		Hello:      helloWait, Patience: strangerWait,
	})
}

// gateDownloads puts the gate before the listener of the downloads.
func (c *Cloud) gateDownloads(server *http.Server, l net.Listener) net.Listener {
	gated := c.gate(l, gate.Config{
		Name: "download", Places: c.places.downloads, Strangers: max(1, c.places.downloads/2),
		PerAddress: max(1, c.places.downloads/8), PerHolder: devicePlaces, Hello: helloWait, Patience: strangerWait,
	})
	gated.Attach(server, func(r *http.Request) (string, bool) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return "", false
		}
		holder, err := provisioning.CertificateHolder(r.TLS.PeerCertificates[0])
		return holder.URI(), err == nil && holder.Kind == principal.Device
	})
	return gated
}

// gateAPI puts the gate before the API's listener: everybody comes from the machine itself.
func (c *Cloud) gateAPI(server *http.Server, l net.Listener) net.Listener {
	gated := c.gate(l, gate.Config{
		Name: "http", Places: c.places.requests, Strangers: max(1, c.places.requests/2), Hello: helloWait,
	})
	gated.Attach(server, func(*http.Request) (string, bool) { return "", true }) // nobody is told apart yet
	return gated
}

func (c *Cloud) gate(l net.Listener, cfg gate.Config) *gate.Listener {
	cfg.Log = c.cfg.Log
	gated := gate.New(l, cfg)
	c.gates = append(c.gates, gated)
	return gated
}
