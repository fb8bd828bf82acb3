package settings

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol"
)

// busFlags are written together in the file, by bus.
var busFlags = []string{"can", "dbc", "j1939"}

// busKey is a key of an entry of "buses" that becomes a parameter of the bus's URL.
type busKey struct {
	name string
	what string // expected
	ok   func(string) bool
}

// busKeys are the options of a SocketCAN bus.
var busKeys = []busKey{
	{"bitrate", "bits per second, such as 500000", isNumber},
	{"dbitrate", "bits per second of the data phase, such as 2000000", isNumber},
	{"fd", "on or off", isSwitch},
	{"listen-only", "on or off", isSwitch},
	{"restart", "a time such as 100ms", isTime},
	{"buffer", "a size such as 4MiB", isSize},
	{"send", "on, off or identifiers such as 0x123,0x18FEF100x", isPermission},
}

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && n > 0
}

func isTime(s string) bool {
	d, err := time.ParseDuration(s)
	return err == nil && d > 0
}

func isSize(s string) bool {
	_, err := protocol.ParseSize(s)
	return err == nil
}

func isPermission(s string) bool {
	_, err := canbus.ParsePermission(s)
	return err == nil || isSwitch(s)
}

func isSwitch(s string) bool { return slices.Contains([]string{"true", "false"}, onOff(s)) }

// bus is one entry of "buses".
type bus struct {
	name, url string
	options   url.Values
	j1939     bool
	dbc       []*yaml.Node
}

// buses turns the list into what --can, --dbc and --j1939 say.
func (c *configFile) buses(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return c.wrong(n, "buses", "expected a list of buses, each with a name; found %s", kindOf(n))
	}
	for _, entry := range n.Content {
		b := bus{options: url.Values{}}
		err := c.pairs(entry, "buses", func(key string, value *yaml.Node) error { return c.bus(&b, key, value) })
		if err != nil {
			return err
		}
		if b.name == "" {
			return c.wrong(entry, "buses", "expected a name, such as can0")
		}
		if err := c.addBus(&b, entry); err != nil {
			return err
		}
	}
	return nil
}

// bus takes one key of an entry.
func (c *configFile) bus(b *bus, key string, n *yaml.Node) (err error) {
	name := strings.TrimPrefix(key, "buses.")
	if name == "dbc" {
		b.dbc, err = c.list(n, key)
		return err
	}
	option := slices.IndexFunc(busKeys, func(k busKey) bool { return k.name == name })
	if option < 0 && name != "name" && name != "url" && name != "j1939" {
		return c.wrong(n, key, "is not a key of a bus; expected name, url, dbc, j1939, bitrate, dbitrate, fd, listen-only, restart, buffer or send")
	}
	text, err := c.scalar(n, key)
	if err != nil {
		return err
	}
	switch {
	case name == "name":
		if b.name = text; strings.ContainsAny(text, "=,/ ") {
			return c.wrong(n, key, "expected a name without any of \"=,/ \", found %q", text)
		}
	case name == "url":
		b.url = text
	case name == "j1939":
		if !isSwitch(text) {
			return c.wrong(n, key, "expected on or off, found %q", text)
		}
		b.j1939 = onOff(text) == "true"
	case option >= 0:
		if k := busKeys[option]; !k.ok(text) {
			return c.wrong(n, key, "expected %s, found %q", k.what, text)
		}
		b.options.Set(name, text)
		if isSwitch(text) {
			b.options.Set(name, map[string]string{"true": "on", "false": "off"}[onOff(text)])
		}
	}
	return nil
}

// addBus puts a bus in order.
func (c *configFile) addBus(b *bus, n *yaml.Node) error {
	if b.url == "" {
		b.url = "socketcan:" + b.name
	}
	if len(b.options) > 0 {
		if !strings.HasPrefix(b.url, "socketcan:") || strings.Contains(b.url, "?") {
			return c.wrong(n, "buses", "%s: expected bit rates and switches with a url of the form socketcan:INTERFACE only", b.name)
		}
		b.url += "?" + b.options.Encode()
	}
	c.add("can", b.name+"="+b.url, c.place(n, "buses"))
	if b.j1939 {
		c.add("j1939", b.name, c.place(n, "buses"))
	}
	for _, file := range b.dbc {
		c.add("dbc", b.name+"="+c.beside(file.Value), c.place(file, "buses.dbc"))
	}
	return nil
}

// keepBuses gives way to buses of the command line: those of the file are not
// there then, and neither are their DBC files.
func (c *configFile) keepBuses(ctx *kong.Context) {
	given := onCommandLine(ctx, "can")
	if given == nil {
		return
	}
	var names []string
	for _, arg := range ctx.FlagValue(given).([]string) {
		name, _, _ := strings.Cut(arg, "=")
		names = append(names, name)
	}
	for _, flag := range []string{"dbc", "j1939"} {
		list, _ := c.values[flag].([]any)
		list = slices.DeleteFunc(list, func(entry any) bool {
			name, _, _ := strings.Cut(entry.(string), "=")
			return !slices.Contains(names, name)
		})
		if c.values[flag] = list; len(list) == 0 {
			delete(c.values, flag)
		}
	}
}
