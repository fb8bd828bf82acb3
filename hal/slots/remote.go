package slots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"telltale.dev/protocol/firmware"
)

// SignedImage is an image with the signed header of its update file (protocol/firmware), which whoever owns the slots may want to judge itself.
type SignedImage struct {
	io.Reader        // the image
	Header    []byte // all that comes before the image in the update file
}

// Remote are slots that another process owns, and gives by Owner.Serve. It needs no rights but to open the owner's socket.
// Install takes a SignedImage only; how many bytes are installed is what the header says.
type Remote struct {
	socket string
}

var _ Slots = (*Remote)(nil)

// NewRemote makes no connection yet: each call has its own.
func NewRemote(socket string) *Remote { return &Remote{socket} }

// answerTime bounds how long the owner may take for anything but an install.
const answerTime = 30 * time.Second

// connect sends a request.
func (r *Remote) connect(q request) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: r.socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("owner of the slots is not reached: %w", bare(err))
	}
	q.Version = wireVersion
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	if err := writeMessage(conn, q); err != nil {
		conn.Close()
		return nil, fmt.Errorf("owner of the slots: %w", bare(err))
	}
	return conn, nil
}

// answered reads the answer.
func answered(conn net.Conn) (a answer, err error) {
	if err := readMessage(conn, &a); err != nil {
		return a, fmt.Errorf("owner of the slots: no answer: %w", bare(err))
	}
	return a, a.err()
}

// ask does all but installs.
func (r *Remote) ask(q request) (answer, error) {
	conn, err := r.connect(q)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	return answered(conn)
}

// Status implements Slots.
func (r *Remote) Status() (Status, error) {
	a, err := r.ask(request{Action: askStatus})
	if err == nil && a.Status == nil {
		err = errors.New("owner of the slots: expected a status")
	}
	if err != nil {
		return Status{}, err
	}
	return *a.Status, nil
}

// Confirm implements Slots.
func (r *Remote) Confirm() error {
	_, err := r.ask(request{Action: askConfirm})
	return err
}

// Prefer implements Slots.
func (r *Remote) Prefer(slot Slot) error {
	_, err := r.ask(request{Action: askPrefer, Slot: slot})
	return err
}

// Rollback implements Slots.
func (r *Remote) Rollback() error {
	_, err := r.ask(request{Action: askRollback})
	return err
}

// Install implements Slots.
func (r *Remote) Install(ctx context.Context, image io.Reader, _ int64) error {
	of, ok := image.(SignedImage)
	if !ok {
		return fmt.Errorf("image without its signed header: %w", firmware.ErrNotUpdate)
	}
	conn, err := r.connect(request{Action: askInstall})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	sent := send(ctx, conn, of)
	stop := func() bool { return true }
	if sent == nil { // the owner writes and reads back
		stop = context.AfterFunc(ctx, func() { breakOff(conn) })
	} else {
		breakOff(conn)
	}
	_, err = answered(conn)
	stop()
	switch {
	case ctx.Err() != nil && err != nil:
		return ctx.Err()
	case sent != nil && !errors.Is(sent, errNotTaken):
		return sent
	}
	return err
}

// breakOff tells the owner that no more comes, and gives it a time to say what became of it.
func breakOff(conn *net.UnixConn) {
	_ = conn.CloseWrite()
	_ = conn.SetDeadline(time.Now().Add(answerTime))
}

// errNotTaken says that the owner reads no more: its answer says why.
var errNotTaken = errors.New("the owner of the slots takes no more")

// send sends header and image. Its error is the image's own, that of ctx, or wraps errNotTaken.
func send(ctx context.Context, conn *net.UnixConn, of SignedImage) error {
	if err := writeChunk(conn, of.Header); err != nil {
		return fmt.Errorf("%w: %w", errNotTaken, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) }) // ends a write that waits
	defer stop()
	buf := make([]byte, maxChunk)
	for ctx.Err() == nil {
		n, err := of.Read(buf)
		if n == 0 && err == nil {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the image: %w", err)
		}
		if n > 0 {
			if err := writeChunk(conn, buf[:n]); err != nil {
				return fmt.Errorf("%w: %w", errNotTaken, err)
			}
		}
		if err != nil {
			if err := writeChunk(conn, nil); err != nil {
				return fmt.Errorf("%w: %w", errNotTaken, err)
			}
			return nil
		}
	}
	return ctx.Err()
}

// bare leaves the socket's path out of an error.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
