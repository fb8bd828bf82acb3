package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/schemas"
)

// SchemaStore keeps schema documents in the backbone, under the identifier that batches carry.
type SchemaStore struct {
	documents *backbone.Bucket
	accounts  *backbone.Bucket // of the vehicles: what each brought lately
	seed      maphash.Seed
	counting  [64]sync.Mutex // each guards the accounts of some vehicles
	deleted   func(protocol.VehicleID) bool
}

// OpenSchemas opens the store. Deleted says whether a vehicle was deleted: it brings nothing any more.
func OpenSchemas(b *backbone.Backbone, deleted func(protocol.VehicleID) bool) (*SchemaStore, error) {
	documents, err := b.Bucket("schemas")
	if err != nil {
		return nil, err
	}
	accounts, err := b.Bucket("schema-accounts")
	if err != nil {
		return nil, err
	}
	return &SchemaStore{documents: documents, accounts: accounts, seed: maphash.MakeSeed(), deleted: deleted}, nil
}

// Bounds of what a vehicle may bring that was not there, for each vehicle by itself. Who reaches
// one is refused with 0x97 until its oldest document of the month no longer counts; documents that
// others brought, or that it brought before, are taken all the same. A car needs one for each
// rule of a campaign, some ten kilobytes. One for a whole J1939 catalogue has 228 kB, and 38 kB
// as stored: a vehicle may bring more than two hundred such.
const (
	maxNewSchemas     = 256
	maxNewSchemaBytes = 8 << 20  // as stored, compressed
	maxNewSchemaPlain = 64 << 20 // bytes of the documents themselves, since 1 MB of one may be 300 bytes as stored
	newSchemaDays     = 30
)

// schemaAccount is what a vehicle brought in the last newSchemaDays, oldest first.
type schemaAccount struct {
	Documents []schemaEntry `json:"documents"`
}

type schemaEntry struct {
	ID    string `json:"id"`
	Size  int    `json:"size"`            // bytes as stored
	Plain int    `json:"plain,omitempty"` // bytes of the document itself; 0 in what the version before wrote
	Day   int64  `json:"day"`             // since the Unix epoch
}

// add takes a document into the account, or says that it is full.
func (a *schemaAccount) add(e schemaEntry) error {
	a.Documents = slices.DeleteFunc(a.Documents, func(old schemaEntry) bool {
		return old.ID == e.ID || old.Day <= e.Day-newSchemaDays
	})
	size, plain := e.Size, e.Plain
	for _, old := range a.Documents {
		size += old.Size
		plain += old.Plain
	}
	if len(a.Documents) >= maxNewSchemas || size > maxNewSchemaBytes || plain > maxNewSchemaPlain {
		return fmt.Errorf("the vehicle brought %d new documents in %d days, of %d bytes, %d compressed, with this one: %w",
			len(a.Documents), newSchemaDays, plain, size, ErrFull)
	}
	a.Documents = append(a.Documents, e)
	return nil
}

var _ VehicleSchemas = (*SchemaStore)(nil)

// PutVehicleSchema implements VehicleSchemas.
func (s *SchemaStore) PutVehicleSchema(ctx context.Context, vid protocol.VehicleID, hash protocol.SchemaHash, document []byte) error {
	lock := &s.counting[maphash.String(s.seed, string(vid))%uint64(len(s.counting))]
	lock.Lock()
	defer lock.Unlock()
	if s.deleted(vid) { // it was on its way; Forget has been here, or waits for the lock
		return errors.New("the vehicle was deleted")
	}
	if _, err := s.Schema(ctx, hash.ID()); !errors.Is(err, ErrSchemaNotFound) {
		return s.PutSchema(ctx, hash, document) // which looks whether it is the same
	}
	packed, err := compress.Pack(document)
	if err != nil {
		return err
	}
	var account schemaAccount
	entry, err := s.accounts.Get(ctx, string(vid))
	if err == nil {
		err = json.Unmarshal(entry.Value, &account)
	} else if errors.Is(err, backbone.ErrNotFound) {
		err = nil
	}
	if err == nil {
		err = account.add(schemaEntry{ID: hash.ID().String(), Size: len(packed), Plain: plainSize(document), Day: time.Now().Unix() / (24 * 3600)})
	}
	if err != nil {
		return fmt.Errorf("account of schema documents: %w", err)
	}
	value, err := json.Marshal(account)
	if err == nil {
		_, err = s.accounts.Put(ctx, string(vid), value)
	}
	if err != nil {
		return fmt.Errorf("account of schema documents: %w", err)
	}
	return s.PutSchema(ctx, hash, document)
}

// Forget drops the account of a vehicle that was deleted. The documents stay: other vehicles use them, and the lake.
func (s *SchemaStore) Forget(ctx context.Context, vid protocol.VehicleID) error {
	lock := &s.counting[maphash.String(s.seed, string(vid))%uint64(len(s.counting))]
	lock.Lock()
	defer lock.Unlock()
	return s.accounts.Erase(ctx, string(vid))
}

// plainSize is how many bytes a reader of the document may have to parse: schemas.Parse takes it compressed, too.
func plainSize(document []byte) int {
	plain, err := compress.Unpack(document, schemas.MaxSize)
	if err != nil {
		return len(document) // which nobody can read
	}
	return max(len(document), len(plain))
}

// PutSchema implements Schemas. A document that is there is not written
// again; another one with the same first 8 bytes of SHA-256 is refused.
func (s *SchemaStore) PutSchema(ctx context.Context, hash protocol.SchemaHash, document []byte) error {
	have, err := s.Schema(ctx, hash.ID())
	switch {
	case err == nil && sha256.Sum256(have) == hash:
		return nil
	case err == nil:
		return errors.New("schema: another document has the same identifier")
	case !errors.Is(err, ErrSchemaNotFound):
		return err
	}
	packed, err := compress.Pack(document)
	if err != nil {
		return err
	}
	_, err = s.documents.Put(ctx, hash.ID().String(), packed)
	return err
}

// Schema implements Schemas.
func (s *SchemaStore) Schema(ctx context.Context, id protocol.SchemaID) ([]byte, error) {
	return s.Find(ctx, id.String())
}

// Find is Schema by the identifier's hexadecimal digits.
func (s *SchemaStore) Find(ctx context.Context, id string) ([]byte, error) {
	entry, err := s.documents.Get(ctx, id)
	if errors.Is(err, backbone.ErrNotFound) {
		return nil, ErrSchemaNotFound
	}
	if err != nil {
		return nil, err
	}
	return compress.Unpack(entry.Value, schemas.MaxSize)
}
