package ingest

import (
	"context"
	"crypto/sha256"
	"errors"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/schemas"
)

// Bounds of a schemaCache, which is for all vehicles: the processor of a stream and each consumer have one. When it is
// full, others are forgotten, and read again when they are needed; who needs one pays for that (schemaUnits).
const (
	maxCachedSchemas = 512
	maxCachedBytes   = 128 << 20 // as footprint has them; a schema of a whole J1939 catalogue takes less than one MB
)

// schemaCache holds parsed schemas, and why a document could not be parsed.
// Documents never change, so neither does what is cached. It belongs to one goroutine.
type schemaCache struct {
	store  Schemas
	parsed map[protocol.SchemaID]cachedSchema
	bytes  int // of all that is in parsed
}

type cachedSchema struct {
	schema *schemas.Schema
	fault  *fault
	bytes  int
}

// add keeps what a document was read to, and forgets others as long as there are too many: whichever come first in the
// order of a map, which is another one each time.
func (c *schemaCache) add(id protocol.SchemaID, s cachedSchema) {
	s.bytes = footprint(s.schema)
	if c.parsed == nil {
		c.parsed = make(map[protocol.SchemaID]cachedSchema)
	}
	for old, o := range c.parsed {
		if len(c.parsed) < maxCachedSchemas && c.bytes+s.bytes <= maxCachedBytes {
			break
		}
		delete(c.parsed, old)
		c.bytes -= o.bytes
	}
	c.parsed[id] = s
	c.bytes += s.bytes
}

// footprint is about how many bytes of memory a parsed schema takes; 0 for none. Its document says little about
// that: 65,536 signals alike are 378 bytes of it, compressed.
func footprint(s *schemas.Schema) (n int) {
	if s == nil {
		return 0
	}
	const signalBytes, valueBytes, groupBytes, memberBytes = 400, 64, 32, 4
	for i := range s.Signals {
		g := &s.Signals[i]
		n += signalBytes + len(g.Values)*valueBytes
		for _, text := range [...]string{g.Bus, g.Message, g.Name, g.Unit, g.Scale, g.Offset, g.VSS} {
			n += len(text)
		}
		for _, text := range g.Values {
			n += len(text)
		}
	}
	for _, members := range s.Groups {
		n += groupBytes + len(members)*memberBytes
	}
	return n
}

// find gives the schema of a batch, or why there is none. Size is how many bytes had to be
// read and parsed for it, 0 when it was there. The error is that of a store which cannot answer now.
func (c *schemaCache) find(ctx context.Context, id protocol.SchemaID) (s *schemas.Schema, size int, f *fault, err error) {
	if have, ok := c.parsed[id]; ok {
		return have.schema, 0, have.fault, nil
	}
	doc, err := c.store.Schema(ctx, id)
	if errors.Is(err, ErrSchemaNotFound) { // not cached: it may come
		return nil, 0, faultOf(reasons.UnknownSchema, "schema %s: %w", id, ErrSchemaNotFound), nil
	}
	if err != nil {
		return nil, 0, nil, err
	}
	var parsed cachedSchema
	if hash := protocol.SchemaHash(sha256.Sum256(doc)); hash.ID() != id {
		parsed.fault = faultOf(reasons.UnknownSchema, "schema %s: the stored document has another hash", id)
	} else {
		parsed.schema, parsed.fault = parseSchema(doc, id)
	}
	c.add(id, parsed)
	return parsed.schema, len(doc), parsed.fault, nil
}

// schema finds the schema of a batch in turn. A store that cannot answer is asked again until ctx ends.
func (p *Processor) schema(ctx context.Context, id protocol.SchemaID) (s *schemas.Schema, f *fault) {
	var size int
	err := p.retry(ctx, &p.reading, "schema store cannot be read", func() (err error) {
		s, size, f, err = p.schemas.find(ctx, id)
		return err
	})
	if err != nil {
		return nil, &fault{reasons.Internal, err} // ctx ended
	}
	if size > 0 {
		p.units += schemaUnits + size/plainUnits
	}
	return s, f
}

func parseSchema(doc []byte, id protocol.SchemaID) (s *schemas.Schema, f *fault) {
	defer catch(&f)
	s, err := schemas.Parse(doc)
	if errors.Is(err, document.ErrNotSupported) || errors.Is(err, document.ErrVersion) { // of a later version, not damaged
		return nil, faultOf(reasons.NotSupported, "schema %s: %w", id, err)
	}
	if err != nil {
		return nil, faultOf(reasons.Undecodable, "schema %s: %w", id, err)
	}
	return s, nil
}
