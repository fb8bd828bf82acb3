package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/backbone"
)

func uploadOperation() huma.Operation {
	return huma.Operation{
		OperationID: "upload-update-file", Method: http.MethodPost, Path: "/v1/updates", Summary: "Keep a signed update file", DefaultStatus: http.StatusCreated,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
		Responses: map[string]*huma.Response{
			"201":     {Description: "Kept, or kept before"},
			"default": {Description: "Refused: no update file, too large (413), damaged or of an unknown key (422), no space (507)"},
		},
	}
}

// uploadInput is the body as it comes: huma would read all of it into memory.
type uploadInput struct{ body lively }

// Resolve implements huma.Resolver.
func (in *uploadInput) Resolve(ctx huma.Context) []error {
	in.body = lively{from: ctx.BodyReader(), control: ctx, began: time.Now()}
	return nil
}

// upload streams a file to the disk.
func (u *Updates) upload(ctx context.Context, in *uploadInput) (*backbone.Answer[UpdateFile], error) {
	f, err := u.Upload(ctx, &in.body)
	switch {
	case err != nil && in.body.broken && statusOf(err) == 0:
		return nil, huma.Error400BadRequest(fmt.Sprintf("the upload was cut off, or came slower than %d KiB a second", uploadSpeed>>10))
	case err != nil:
		return nil, u.refused("update file not kept", err)
	}
	return &backbone.Answer[UpdateFile]{Body: shownFile(&f)}, nil
}

// Bounds of the sender of an update file: it holds one of a few places.
const (
	// uploadIdle is how long it may say nothing.
	uploadIdle = 30 * time.Second
	// uploadSpeed is the least that it sends on average after the first uploadIdle, in bytes a second.
	uploadSpeed = 128 << 10
)

// lively reads a body that must not stand still, nor creep.
type lively struct {
	from    io.Reader
	control interface{ SetReadDeadline(time.Time) error }
	began   time.Time
	bytes   int64 // read so far
	broken  bool
}

// deadline is until when more must have come.
func (l *lively) deadline(now time.Time) time.Time {
	creeping := l.began.Add(uploadIdle + time.Duration(l.bytes/uploadSpeed)*time.Second)
	if idle := now.Add(uploadIdle); idle.Before(creeping) {
		return idle
	}
	return creeping
}

// Read implements io.Reader.
func (l *lively) Read(p []byte) (int, error) {
	if err := l.control.SetReadDeadline(l.deadline(time.Now())); err != nil {
		return 0, err
	}
	n, err := l.from.Read(p)
	l.bytes += int64(n)
	l.broken = l.broken || err != nil && !errors.Is(err, io.EOF)
	return n, err
}
