package main

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
	"telltale.dev/protocol/codec"
)

type inspectCommand struct {
	cloudAPI
	Schema []string `type:"path" placeholder:"FILE" help:"A schema document that batches need. Those in the input are remembered by themselves."`
	File   string   `arg:"" optional:"" type:"path" help:"A payload, or lines of topic and hexadecimal payload. Default: standard input."`
}

// inspector remembers the schemas that it has seen.
type inspector struct {
	schemas map[protocol.SchemaID]*codec.Schema
	out     *json.Encoder
	failed  int
	ask     func(protocol.SchemaID) ([]byte, error) // a cloud for schemas that the input lacks
	missing map[protocol.SchemaID]bool              // it does not have these either
}

// errUnreadable makes the exit code say that something could not be shown.
var errUnreadable = errors.New("not everything could be read")

// Run shows each payload as one JSON line, as it comes.
func (c *inspectCommand) Run(ctx context.Context) error {
	in := inspector{
		schemas: map[protocol.SchemaID]*codec.Schema{}, missing: map[protocol.SchemaID]bool{}, out: json.NewEncoder(os.Stdout),
		ask: func(id protocol.SchemaID) ([]byte, error) { return c.schema(ctx, id) },
	}
	for _, name := range c.Schema {
		data, err := os.ReadFile(name)
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
	if err := in.read(ctx, input); err != nil {
		return err
	}
	if in.failed > 0 {
		return errUnreadable
	}
	return nil
}

// maxInput bounds what may wait for the end of one payload.
const maxInput = 4 << 20

// read cuts the input into payloads. Binary ones carry their own length, so
// that what mosquitto_sub prints can be read without a special format.
func (in *inspector) read(ctx context.Context, input io.Reader) error {
	var waiting []byte
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := input.Read(buf)
		waiting = append(waiting, buf[:n]...)
		ended := errors.Is(err, io.EOF)
		for len(waiting) > 0 {
			payload, size := nextPayload(waiting, ended)
			if size == 0 {
				break
			}
			in.show(payload)
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
	return nil
}

// show prints one payload: binary, "topic hex", hex, or JSON, which is passed on.
func (in *inspector) show(payload []byte) {
	shown := map[string]any{}
	if line := bytes.TrimSpace(payload); isText(payload) {
		if len(line) == 0 {
			return
		}
		if topic, rest, ok := bytes.Cut(line, []byte(" ")); ok && bytes.HasPrefix(topic, []byte("v1/")) {
			shown["topic"], line = string(topic), rest
		}
		if json.Valid(line) {
			shown["json"] = json.RawMessage(line)
			in.print(shown)
			return
		}
		if decoded, err := hex.DecodeString(string(line)); err == nil {
			line = decoded
		}
		payload = line
	}
	in.learn(payload)
	value, what, err := codec.Inspect(payload, in.schema)
	if err != nil {
		in.failed++
		shown["error"] = err.Error()
	} else {
		shown[what] = value
	}
	in.print(shown)
}

func (in *inspector) print(shown map[string]any) {
	if err := in.out.Encode(shown); err != nil {
		in.failed++
		fmt.Fprintln(os.Stderr, "telltale:", err)
	}
}

// schema finds a schema in what was seen, else asks the cloud, once.
func (in *inspector) schema(id protocol.SchemaID) (*codec.Schema, bool) {
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

// schema asks the cloud for a schema document.
func (c *cloudAPI) schema(ctx context.Context, id protocol.SchemaID) ([]byte, error) {
	body, err := c.open(ctx, "v1", "schemas", id.String())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, codec.MaxSchemaSize))
}

// learn remembers the payload if it is a schema document.
func (in *inspector) learn(payload []byte) bool {
	doc, err := codec.Unpack(payload, codec.MaxSchemaSize)
	if err != nil {
		return false
	}
	schema, err := codec.ParseSchema(doc)
	if err != nil {
		return false
	}
	if _, hash, err := schema.Encode(); err == nil {
		in.schemas[hash.ID()] = schema
	}
	return true
}
