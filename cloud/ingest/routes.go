package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
)

// Desk shows what arrived, and what could not be decoded. Every field is required.
type Desk struct {
	Processors Processors
	Letters    LetterBox
	Replayer   *Replayer
	Schemas    *SchemaStore
	Known      func(protocol.VehicleID) bool // whether a vehicle is registered
	Log        *slog.Logger
}

// Boot is the delivery account of one start of a device's agent, as the API shows it.
type Boot struct {
	Device     string      `json:"did"`
	Boot       string      `json:"boot"`
	Stored     uint64      `json:"stored" doc:"messages stored, each counted once"`
	Samples    uint64      `json:"samples" doc:"samples in them"`
	Last       uint64      `json:"last" doc:"highest sequence seen"`
	Gaps       [][2]uint64 `json:"gaps" doc:"sequences below last that are on their way or lost: neither stored, evicted nor dead; both ends included"`
	Evicted    [][2]uint64 `json:"evicted" doc:"sequences that the vehicle declared evicted, and that are not stored"`
	Stayed     [][2]uint64 `json:"evicted_stored" doc:"sequences that the vehicle declared evicted, and that are stored: the word that they are was lost on the way"`
	Dead       [][2]uint64 `json:"dead" doc:"sequences among the dead letters"`
	Duplicates uint64      `json:"duplicates" doc:"deliveries that were recognised as duplicates and left out"`
}

type lettersInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many of the newest"`
}

type replayInput struct {
	Reason string `query:"reason" maxLength:"64" doc:"only letters with this reason; empty: all"`
}

// replayed is also the name that the API's description has for it.
type replayed struct {
	Replayed int `json:"replayed" doc:"letters fed in again"`
}

type letterPath struct {
	Sequence uint64 `path:"sequence" doc:"of the letter"`
}

type dismissInput struct {
	Reason string `query:"reason" required:"true" minLength:"1" maxLength:"64" doc:"only letters with this reason; ALL: all"`
}

type dismissed struct {
	Dismissed int `json:"dismissed" doc:"letters deleted"`
}

type schemaPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" doc:"start of the document's SHA-256, as batches carry it"`
}

type schemaOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// Routes is an ability of rooms.
func (d *Desk) Routes(api huma.API) {
	huma.Get(api, "/v1/vehicles/{vid}/ledger", d.ledger, backbone.About("get-ledger", "Delivery account by device and boot", http.StatusNotFound))
	huma.Get(api, "/v1/dead-letters", d.letters,
		backbone.About("list-dead-letters", "Stored messages that could not be decoded, oldest first", http.StatusServiceUnavailable))
	huma.Post(api, "/v1/dead-letters/replay", d.replay,
		backbone.About("replay-dead-letters", "Feed dead letters in again; what is stored by now is not stored twice", http.StatusServiceUnavailable))
	huma.Delete(api, "/v1/dead-letters/{sequence}", d.dismissOne, backbone.About("dismiss-dead-letter",
		"Delete a dead letter; the ledger goes on counting its message among the dead", http.StatusNotFound, http.StatusServiceUnavailable))
	huma.Delete(api, "/v1/dead-letters", d.dismiss, backbone.About("dismiss-dead-letters",
		"Delete the dead letters with a reason; the ledger goes on counting their messages among the dead", http.StatusServiceUnavailable))
	huma.Get(api, "/v1/schemas/{id}", d.schema, backbone.About("get-schema",
		"A schema document: what the columns of a batch mean (CBOR)", http.StatusNotFound, http.StatusServiceUnavailable))
}

func (d *Desk) ledger(_ context.Context, in *backbone.VehiclePath) (*backbone.Answer[[]Boot], error) {
	vid := protocol.VehicleID(in.VID)
	if !d.Known(vid) {
		return nil, backbone.NoVehicle()
	}
	accounts := make([][]ledger.Account, len(d.Processors))
	for i, p := range d.Processors {
		accounts[i] = p.Accounts(vid)
	}
	out := &backbone.Answer[[]Boot]{Body: []Boot{}}
	for _, a := range ledger.Merge(accounts...) {
		out.Body = append(out.Body, Boot{
			Device: string(a.Device), Boot: a.Boot.String(), Stored: a.Stored, Samples: a.Samples, Last: a.Highest,
			Gaps: pairs(a.Gaps), Evicted: pairs(a.Evicted), Stayed: pairs(a.Stayed), Dead: pairs(a.Buried), Duplicates: a.Duplicates,
		})
	}
	return out, nil
}

func pairs(spans []ledger.Span) [][2]uint64 {
	list := make([][2]uint64, len(spans))
	for i, s := range spans {
		list[i] = [2]uint64{s.From, s.To}
	}
	return list
}

func (d *Desk) letters(ctx context.Context, in *lettersInput) (*backbone.Answer[[]DeadLetter], error) {
	list, err := d.Letters.Newest(ctx, in.Limit)
	if err != nil {
		return nil, backbone.Failed(d.Log, "dead letters cannot be read", err)
	}
	return &backbone.Answer[[]DeadLetter]{Body: list}, nil
}

func (d *Desk) replay(ctx context.Context, in *replayInput) (*backbone.Answer[replayed], error) {
	done, err := d.Replayer.Replay(ctx, Filter{Reason: reasons.Reason(in.Reason)})
	if err != nil {
		return nil, backbone.Failed(d.Log, "dead letters not replayed, or not all", err)
	}
	return &backbone.Answer[replayed]{Body: replayed{done.Published}}, nil
}

func (d *Desk) dismissOne(ctx context.Context, in *letterPath) (*struct{}, error) {
	found, err := d.Letters.Delete(ctx, in.Sequence)
	switch {
	case err != nil:
		return nil, backbone.Failed(d.Log, "dead letter not dismissed", err)
	case !found:
		return nil, huma.Error404NotFound("no such dead letter")
	}
	return nil, nil
}

func (d *Desk) dismiss(ctx context.Context, in *dismissInput) (*backbone.Answer[dismissed], error) {
	reason := in.Reason
	if reason == "ALL" {
		reason = ""
	}
	n, err := d.Letters.Dismiss(ctx, reason)
	if err != nil {
		return nil, backbone.Failed(d.Log, "dead letters not dismissed, or not all", err)
	}
	return &backbone.Answer[dismissed]{Body: dismissed{n}}, nil
}

func (d *Desk) schema(ctx context.Context, in *schemaPath) (*schemaOutput, error) {
	doc, err := d.Schemas.Find(ctx, in.ID)
	switch {
	case errors.Is(err, ErrSchemaNotFound):
		return nil, huma.Error404NotFound("no schema with this identifier")
	case err != nil:
		return nil, backbone.Failed(d.Log, "schema cannot be read", err)
	}
	return &schemaOutput{ContentType: protocol.ContentSchema, Body: doc}, nil
}
