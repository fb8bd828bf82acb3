package ingest_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2/humatest"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
)

// TestRoutes: dead letters and schemas of a backbone with three letters, also when it has closed.
func TestRoutes(t *testing.T) {
	b, err := backbone.Open(backbone.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for i, reason := range []string{"four", "five", "four"} {
		stored := make(chan error, 1)
		b.Publish(backbone.Message{Subject: "dead.UP." + reason, Header: map[string]string{
			ingest.HeaderReason: reason, ingest.HeaderTopic: "v1/car1/up/event/storage", ingest.HeaderDevice: "tcu",
			ingest.HeaderOrigin: fmt.Sprint("UP/", i), ingest.HeaderSubject: "up.car1",
		}}, func(_ uint64, err error) { stored <- err })
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
	schemas, err := ingest.OpenSchemas(b, func(protocol.VehicleID) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	doc := []byte{0xa0}
	hash := protocol.SchemaHash(sha256.Sum256(doc))
	if err := schemas.PutSchema(t.Context(), hash, doc); err != nil {
		t.Fatal(err)
	}
	dead, log := b.Feed(backbone.Dead), &bytes.Buffer{}
	desk := &ingest.Desk{
		Letters: ingest.LetterBox{Feed: dead}, Replayer: &ingest.Replayer{Dead: dead, Publisher: b}, Schemas: schemas,
		Known: func(vid protocol.VehicleID) bool { return vid == "car1" }, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	_, api := humatest.New(t)
	desk.Routes(api)
	ask := func(method, path string, status int, has string) {
		t.Helper()
		resp := api.Do(method, "/v1"+path)
		if resp.Code != status || !strings.Contains(resp.Body.String(), has) {
			t.Errorf("%s %s: got %d %s, want %d with %q", method, path, resp.Code, resp.Body, status, has)
		}
	}
	ask("GET", "/vehicles/car1/ledger", 200, "[]")
	ask("GET", "/vehicles/x/ledger", 404, "no vehicle")
	ask("GET", "/dead-letters?limit=1", 200, `[{"sequence":3,`)
	ask("GET", "/dead-letters?limit=2", 200, `[{"sequence":2,`)
	ask("GET", "/dead-letters", 200, `"reason":"four","vid":"car1","did":"tcu","bytes":0}`)
	ask("GET", "/dead-letters?limit=0", 422, "limit")
	ask("POST", "/dead-letters/replay?reason=four", 200, `"replayed":2`)
	ask("DELETE", "/dead-letters/2", 204, "")
	ask("DELETE", "/dead-letters/2", 404, "no such dead letter")
	ask("DELETE", "/dead-letters?reason=five", 200, `"dismissed":0`)
	ask("DELETE", "/dead-letters", 422, "required")
	ask("DELETE", "/dead-letters?reason=ALL", 200, `"dismissed":2`)
	ask("GET", "/dead-letters", 200, "[]")
	ask("GET", "/schemas/"+hash.ID().String(), 200, "\xa0")
	ask("GET", "/schemas/00112233445566fe", 404, "no schema")
	ask("GET", "/schemas/short", 422, "pattern")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ask("GET", "/dead-letters", 503, "see the log")
	ask("POST", "/dead-letters/replay", 503, "see the log")
	ask("DELETE", "/dead-letters/1", 503, "see the log")
	ask("DELETE", "/dead-letters?reason=ALL", 503, "see the log")
	ask("GET", "/schemas/00112233445566fe", 503, "see the log")
	if n := strings.Count(log.String(), "level=ERROR"); n != 5 {
		t.Errorf("got %d errors in the log, want 5:\n%s", n, log)
	}
}
