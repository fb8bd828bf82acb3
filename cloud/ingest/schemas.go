package ingest

import (
	"context"
	"crypto/sha256"
	"errors"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
)

// maxCachedSchemas bounds the parsed schemas in memory; when there are more, all
// are forgotten and read again as they are needed.
const maxCachedSchemas = 512

// schemaCache holds parsed schemas, and why a document could not be parsed.
// Documents never change, so neither does what is cached. It belongs to one goroutine.
type schemaCache struct {
	store  Schemas
	parsed map[protocol.SchemaID]cachedSchema
}

type cachedSchema struct {
	schema *codec.Schema
	fault  *fault
}

// find gives the schema of a batch, or why there is none. Size is how many bytes had to be
// read and parsed for it, 0 when it was there. The error is that of a store which cannot answer now.
func (c *schemaCache) find(ctx context.Context, id protocol.SchemaID) (s *codec.Schema, size int, f *fault, err error) {
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
	if c.parsed == nil || len(c.parsed) >= maxCachedSchemas {
		c.parsed = make(map[protocol.SchemaID]cachedSchema)
	}
	c.parsed[id] = parsed
	return parsed.schema, len(doc), parsed.fault, nil
}

// schema finds the schema of a batch in turn. A store that cannot answer is asked again until ctx ends.
func (p *Processor) schema(ctx context.Context, id protocol.SchemaID) (s *codec.Schema, f *fault) {
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

func parseSchema(doc []byte, id protocol.SchemaID) (s *codec.Schema, f *fault) {
	defer guard(&f)
	s, err := codec.ParseSchema(doc)
	if errors.Is(err, document.ErrNotSupported) || errors.Is(err, codec.ErrVersion) { // of a later version, not damaged
		return nil, faultOf(reasons.NotSupported, "schema %s: %w", id, err)
	}
	if err != nil {
		return nil, faultOf(reasons.Undecodable, "schema %s: %w", id, err)
	}
	return s, nil
}
