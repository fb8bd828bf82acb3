package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"telltale.dev/protocol"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/schemas"
	"telltale.dev/simulator/client"
	"telltale.dev/simulator/inspect"
)

type Inspect struct {
	client.Client
	Schema []string `placeholder:"FILE" help:"A schema document that batches need. Those in the input are remembered, and a cloud is asked for others."`
	File   string   `arg:"" optional:"" help:"Payloads, or lines of topic and payload as mosquitto_sub prints them. Default: standard input."`
}

// inspector shows payloads and remembers the schemas that it has seen.
type inspector struct {
	schemas map[protocol.SchemaID]*schemas.Schema
	out     io.Writer
	failed  int
	ask     func(protocol.SchemaID) ([]byte, error) // a cloud for schemas that the input lacks
	missing map[protocol.SchemaID]bool              // it does not have these either
}

// errUnreadable makes the exit code say that something could not be shown.
var errUnreadable = errors.New("not everything could be read")

// Run shows each payload as one JSON line, as it comes.
func (c *Inspect) Run(ctx context.Context) error {
	in := inspector{
		schemas: map[protocol.SchemaID]*schemas.Schema{}, missing: map[protocol.SchemaID]bool{}, out: os.Stdout,
		ask: func(id protocol.SchemaID) ([]byte, error) { return c.fetch(ctx, id) },
	}
	for _, name := range c.Schema {
		data, err := readSchema(name)
		if err != nil {
			return fmt.Errorf("--schema: %w", err)
		}
		if !in.learn(data) {
			return fmt.Errorf("--schema %s: expected a schema document", name)
		}
	}
	input := os.Stdin
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		input = f
	}
	ended := make(chan error, 1)
	go func() { ended <- in.read(input) }() // not waited for after Ctrl-C: a read of a terminal cannot be interrupted
	select {
	case err := <-ended:
		if err == nil && in.failed > 0 {
			err = errUnreadable
		}
		return err
	case <-ctx.Done():
		return nil // this is how following the wire ends
	}
}

// readSchema reads a file, and of one that is too large for a schema no more than shows it.
func readSchema(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, schemas.MaxSize+1))
}

// maxInput bounds what may wait for the end of one payload.
const maxInput = 4 << 20

// read cuts the input into payloads and shows them as they come.
func (in *inspector) read(input io.Reader) error {
	var waiting []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := input.Read(buf)
		waiting = append(waiting, buf[:n]...)
		ended := errors.Is(err, io.EOF)
		for len(waiting) > 0 {
			p, size := cut(waiting, ended)
			if size == 0 {
				break
			}
			if err := in.show(p); err != nil {
				return err
			}
			waiting = waiting[size:]
		}
		switch {
		case ended:
			return nil
		case err != nil:
			return err
		case len(waiting) > maxInput:
			return fmt.Errorf("expected payloads of at most %d bytes", maxInput)
		}
	}
}

// show prints one payload: binary, hexadecimal, a campaign in YAML, or JSON, which is passed on.
func (in *inspector) show(p piece) error {
	payload := p.payload
	if text := bytes.TrimSpace(payload); len(text) == 0 || text[0] < 0x80 && !bytes.HasPrefix(payload, zstdMagic) {
		payload = text
		if decoded, err := hex.DecodeString(string(text)); err == nil {
			payload = decoded
		}
	}
	switch {
	case len(payload) == 0 && p.topic == "":
		return nil
	case len(payload) == 0: // a retained document taken back
		return in.print(p.topic, "empty", true)
	case json.Valid(payload):
		return in.print(p.topic, "json", json.RawMessage(payload))
	}
	in.learn(payload)
	value, what, err := inspect.Payload(payload, in.schema)
	if err != nil {
		in.failed++
		return in.print(p.topic, "error", err.Error())
	}
	return in.print(p.topic, what, value)
}

// print writes one line: the topic, if there is one, and what was found under its kind.
func (in *inspector) print(topic, what string, value any) error {
	text, err := json.Marshal(map[string]any{what: value})
	if err != nil {
		return err
	}
	if topic != "" {
		name, err := json.Marshal(map[string]string{"topic": topic})
		if err != nil {
			return err
		}
		text = append(append(name[:len(name)-1], ','), text[1:]...)
	}
	_, err = in.out.Write(append(text, '\n'))
	return err
}

// schema finds a schema in what was seen, else asks the cloud, once.
func (in *inspector) schema(id protocol.SchemaID) (*schemas.Schema, bool) {
	if s, ok := in.schemas[id]; ok || in.missing[id] {
		return s, ok
	}
	doc, err := in.ask(id)
	if err != nil || !in.learn(doc) {
		in.missing[id] = true
	}
	s, ok := in.schemas[id]
	return s, ok
}

// fetch asks the cloud for a schema document.
func (c *Inspect) fetch(ctx context.Context, id protocol.SchemaID) ([]byte, error) {
	body, err := c.Send(ctx, client.Request{Path: []string{"v1", "schemas", id.String()}})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, schemas.MaxSize))
}

// learn remembers the payload if it is a schema document.
func (in *inspector) learn(payload []byte) bool {
	doc, err := compress.Unpack(payload, schemas.MaxSize)
	if err != nil {
		return false
	}
	schema, err := schemas.Parse(doc)
	if err != nil {
		return false
	}
	if _, hash, err := schema.Encode(); err == nil {
		in.schemas[hash.ID()] = schema
	}
	return true
}
