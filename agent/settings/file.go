package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"telltale.dev/agent/network"
	"telltale.dev/hal/durable"
)

// DefaultConfig is read when the command line names neither a file nor a data folder.
const DefaultConfig = "/etc/telltale/agent.yaml"

// notInFile is the tag of a flag that is for one call of a command only.
const notInFile = "nofile"

// maxConfig bounds the file.
const maxConfig = 1 << 20

// FromFile is what a command embeds whose flags may stand in the configuration file.
//
// A key of the file is the name of a flag without its dashes, and a group of keys
// is the first part of their names: "power: {driver: file}" is --power-driver file.
// Only buses are written differently; see busKeys. A flag on the command line
// wins over the file.
type FromFile struct {
	Config string `type:"path" placeholder:"FILE" help:"Configuration file. Default: /etc/telltale/agent.yaml when --data is not given either."`

	file   *configFile
	absent bool // there is no file, and none was asked for
}

// BeforeResolve reads the file and hands its values to kong. Kong calls it more
// than once, for the command and for what the command embeds.
func (c *FromFile) BeforeResolve(ctx *kong.Context) error {
	if c.file != nil {
		return nil
	}
	c.file = newConfigFile()
	path := DefaultConfig
	switch given := onCommandLine(ctx, "config"); {
	case given != nil:
		path = ctx.FlagValue(given).(string)
	case onCommandLine(ctx, "data") != nil:
		return nil
	default:
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			c.absent = true
			return nil
		}
	}
	if err := c.file.load(path, knownFlags(ctx.Model)); err != nil {
		return &FileError{err}
	}
	c.file.keepBuses(ctx)
	for _, p := range ctx.Path { // what was said there has no place in the file
		maps.DeleteFunc(c.file.places, func(key, _ string) bool {
			return p.Flag != nil && (key == p.Flag.Name || strings.HasPrefix(key, p.Flag.Name+"="))
		})
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		return c.file.values[flag.Name], nil
	}))
	return nil
}

// FileError is a mistake in the file, or a file that cannot be read.
type FileError struct{ error }

func (e *FileError) Unwrap() error { return e.error }

// Absent says that there is no file, and that none was asked for.
func (c *FromFile) Absent() bool { return c.absent }

// At says where a setting came from: "agent.yaml:7: buffer", or "--buffer". Of a
// list it is the entry with this value.
func (c *FromFile) At(flag, entry string) string {
	for _, key := range []string{flag + "=" + entry, flag} {
		if place, ok := c.file.places[key]; ok {
			return place
		}
	}
	return strings.TrimSpace("--" + flag + " " + entry)
}

func onCommandLine(ctx *kong.Context, name string) *kong.Flag {
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == name {
			return p.Flag
		}
	}
	return nil
}

// knownFlags are the flags of all commands that read the file, so that one file serves them all.
func knownFlags(app *kong.Application) map[string]*kong.Flag {
	known := map[string]*kong.Flag{}
	for _, command := range app.Leaves(false) {
		if !slices.ContainsFunc(command.Flags, func(f *kong.Flag) bool { return f.Name == "config" }) {
			continue
		}
		for _, f := range command.Flags {
			if f.Name != "config" && !f.Tag.Has(notInFile) {
				known[f.Name] = f
			}
		}
	}
	return known
}

// configFile is the content of a file as values of flags.
type configFile struct {
	name   string            // without its folder
	dir    string            // its folder: relative paths in the file begin there
	values map[string]any    // by flag: a string, or a list of strings as []any
	places map[string]string // by flag, and by flag=entry for the entries of a list
}

func newConfigFile() *configFile {
	return &configFile{values: map[string]any{}, places: map[string]string{}}
}

// load reads the file. The error names file, line and key, and what was expected.
func (c *configFile) load(path string, known map[string]*kong.Flag) error {
	c.name, c.dir = filepath.Base(path), filepath.Dir(path)
	text, _, err := durable.ReadRegular(path, maxConfig)
	switch {
	case errors.Is(err, durable.ErrTooLarge):
		return fmt.Errorf("%s: %w", c.name, err)
	case err != nil:
		return fmt.Errorf("--config: %w", err)
	}
	var root yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		return fmt.Errorf("%s: %s", c.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: expected one YAML document", c.name)
	}
	return c.group(root.Content[0], "", known)
}

// beside makes a relative path of the file one that begins in the file's folder, wherever the program was started.
func (c *configFile) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.dir, path)
}

// isPath says whether a flag takes a path.
func isPath(flag *kong.Flag) bool { return flag.Tag.Type == "path" }

// wrong is an error about a place in the file.
func (c *configFile) wrong(n *yaml.Node, key, format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{c.place(n, key)}, args...)...)
}

func (c *configFile) place(n *yaml.Node, key string) string {
	if key == "" {
		return fmt.Sprintf("%s:%d", c.name, n.Line)
	}
	return fmt.Sprintf("%s:%d: %s", c.name, n.Line, key)
}

// group reads the keys of a mapping; prefix is the name of the group.
func (c *configFile) group(n *yaml.Node, prefix string, known map[string]*kong.Flag) error {
	return c.pairs(n, prefix, func(key string, value *yaml.Node) error {
		name := strings.ReplaceAll(key, ".", "-")
		flag, leads := known[name], false
		for other := range known {
			leads = leads || strings.HasPrefix(other, name+"-")
		}
		switch {
		case key == "buses":
			return c.buses(value)
		case flag != nil && (!leads || value.Kind != yaml.MappingNode) && !slices.Contains(busFlags, name):
			if _, twice := c.values[name]; twice {
				return c.wrong(value, key, "expected once")
			}
			return c.set(flag, key, value)
		case leads && value.Kind == yaml.MappingNode:
			return c.group(value, key, known)
		case leads:
			return c.wrong(value, key, "expected keys with values, found %s", kindOf(value))
		}
		return c.wrong(value, key, "is not a key of the configuration; expected one of those in the example agent.yaml")
	})
}

// pairs calls each for the entries of a mapping, with the whole key.
func (c *configFile) pairs(n *yaml.Node, prefix string, each func(key string, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return c.wrong(n, prefix, "expected keys with values, found %s", kindOf(n))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if prefix != "" {
			key = prefix + "." + key
		}
		for k := 0; k < i; k += 2 {
			if n.Content[k].Value == n.Content[i].Value {
				return c.wrong(n.Content[i], key, "expected once, it is in line %d already", n.Content[k].Line)
			}
		}
		value := n.Content[i+1]
		if value.Line == 0 || value.Tag == "!!null" {
			return c.wrong(n.Content[i], key, "expected a value, found nothing")
		}
		if err := each(key, value); err != nil {
			return err
		}
	}
	return nil
}

// set takes the value of a flag, after trying whether the flag would take it.
func (c *configFile) set(flag *kong.Flag, key string, n *yaml.Node) error {
	c.places[flag.Name] = c.place(n, key)
	if flag.Target.Kind() != reflect.Slice {
		text, err := c.scalar(n, key)
		if err != nil {
			return err
		}
		if flag.Target.Kind() == reflect.Bool {
			text = onOff(text)
		}
		if err := try(flag, text); err != nil {
			return c.wrong(n, key, "expected %w, found %q", err, n.Value)
		}
		if isPath(flag) {
			text = c.beside(text)
		}
		c.values[flag.Name] = text
		return nil
	}
	list, err := c.list(n, key)
	if err != nil {
		return err
	}
	for _, entry := range list {
		value := entry.Value
		if isPath(flag) {
			value = c.beside(value)
		}
		c.add(flag.Name, value, c.place(entry, key))
	}
	return nil
}

// add appends to a flag that may be repeated.
func (c *configFile) add(flag, entry, place string) {
	list, _ := c.values[flag].([]any)
	c.values[flag] = append(list, entry)
	c.places[flag+"="+entry] = place
}

func (c *configFile) scalar(n *yaml.Node, key string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return "", c.wrong(n, key, "expected one value, found %s", kindOf(n))
	}
	return n.Value, nil
}

// list reads a list of single values; one value is a list of one.
func (c *configFile) list(n *yaml.Node, key string) ([]*yaml.Node, error) {
	if n.Kind == yaml.ScalarNode {
		_, err := c.scalar(n, key)
		return []*yaml.Node{n}, err
	}
	if n.Kind != yaml.SequenceNode {
		return nil, c.wrong(n, key, "expected a list, found %s", kindOf(n))
	}
	for _, entry := range n.Content {
		if _, err := c.scalar(entry, key); err != nil {
			return nil, err
		}
	}
	return n.Content, nil
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Value == "" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// onOff gives kong's word for YAML's other words of true and false.
func onOff(text string) string {
	switch strings.ToLower(text) {
	case "on":
		return "true"
	case "off":
		return "false"
	}
	return text
}

// try decodes a value as kong will. The error says what is expected.
func try(flag *kong.Flag, text string) error {
	target := reflect.New(flag.Target.Type()).Elem()
	err := flag.Parse(kong.Scan().PushTyped(text, kong.FlagValueToken), target)
	flag.Set = false
	if flag.Enum != "" && !slices.Contains(flag.EnumSlice(), text) {
		return errors.New("one of " + strings.Join(flag.EnumSlice(), ", "))
	}
	if err == nil {
		return nil
	}
	switch target.Interface().(type) {
	case time.Duration:
		return errors.New("a time such as 10s or 5m")
	case slog.Level:
		return errors.New("debug, info, warn or error")
	case bool:
		return errors.New("on or off")
	case int:
		return errors.New("a whole number")
	case uint64:
		return errors.New("a whole number from 0")
	case network.Limit:
		return errors.New("all, urgent or none")
	}
	return fmt.Errorf("what --%s takes (%w)", flag.Name, err)
}
