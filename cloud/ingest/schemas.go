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
// Documents never change, so neither does what is cached.
type schemaCache map[protocol.SchemaID]cachedSchema

type cachedSchema struct {
	schema *codec.Schema
	fault  *fault
}

// schema finds and parses the schema of a batch. A store that cannot answer is asked again until ctx ends.
func (p *Processor) schema(ctx context.Context, id protocol.SchemaID) (*codec.Schema, *fault) {
	if c, ok := p.schemas[id]; ok {
		return c.schema, c.fault
	}
	var doc []byte
	err := p.retry(ctx, "schema store cannot be read", func() (err error) {
		doc, err = p.cfg.Schemas.Schema(ctx, id)
		if errors.Is(err, ErrSchemaNotFound) {
			doc, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, &fault{reasons.Internal, err} // ctx ended
	}
	if doc == nil { // not cached: it may come
		return nil, faultOf(reasons.UnknownSchema, "schema %s: %w", id, ErrSchemaNotFound)
	}
	p.units += schemaUnits + len(doc)/plainUnits
	var c cachedSchema
	if hash := protocol.SchemaHash(sha256.Sum256(doc)); hash.ID() != id {
		c.fault = faultOf(reasons.UnknownSchema, "schema %s: the stored document has another hash", id)
	} else {
		c.schema, c.fault = parseSchema(doc, id)
	}
	if p.schemas == nil || len(p.schemas) >= maxCachedSchemas {
		p.schemas = make(schemaCache)
	}
	p.schemas[id] = c
	return c.schema, c.fault
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
