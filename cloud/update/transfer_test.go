package update_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/update"
	"telltale.dev/protocol"
	"telltale.dev/protocol/updates"
)

// large is a file that no buffer of a connection holds, and an update of it for the car and for the bus.
func large(t *testing.T, b *bench, u *update.Updates) (updates.FileHash, int) {
	t.Helper()
	file := b.file(7, 32<<20)
	f, err := u.Upload(t.Context(), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for vid, did := range map[protocol.VehicleID]protocol.DeviceID{"car": "tcu", "bus": "ivi"} {
		if _, err := u.Start(t.Context(), update.Request{Vehicle: vid, Device: did, File: f.Hash}); err != nil {
			t.Fatal(err)
		}
	}
	return f.Hash, len(file)
}

// begin asks for the file and leaves the answer unread.
func begin(t *testing.T, client *http.Client, url string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

// TestDownloadsOfOneDevice: a device that begins one download after the other ends its own, and nobody else's.
func TestDownloadsOfOneDevice(t *testing.T) {
	b := newBench(t)
	u := b.open()
	hash, size := large(t, b, u)
	addr, client := server(t, u, func(c *update.ServerConfig) { c.BlockWait = time.Minute })
	url := "https://" + addr + updates.DownloadPath(hash)
	const many = 260 // more than there are places
	first, err := begin(t, client("tcu"), url)
	if err != nil || first.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", first, err)
	}
	hog := client("tcu")
	hog.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(4096) // so that little is sent to who reads nothing
		}
		return conn, err
	}
	for i := range many {
		if resp, err := begin(t, hog, url); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("download %d: got %v, %v", i, resp, err)
		}
	}
	newest, err := begin(t, client("tcu"), url)
	if err != nil || newest.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", newest, err)
	}
	if n, err := io.Copy(io.Discard, first.Body); err == nil {
		t.Errorf("the oldest download: got all %d bytes, want it cut off", n)
	}
	if n, err := io.Copy(io.Discard, newest.Body); err != nil || n != int64(size) {
		t.Errorf("the newest download: got %d bytes, %v, want %d", n, err, size)
	}
	other, err := begin(t, client("ivi"), url)
	if err != nil || other.StatusCode != http.StatusOK {
		t.Fatalf("another device: got %v, %v", other, err)
	}
	if n, err := io.Copy(io.Discard, other.Body); err != nil || n != int64(size) {
		t.Errorf("another device: got %d bytes, %v, want %d", n, err, size)
	}
}

// TestReaderThatReadsNothing is cut off, while a slow one is not.
func TestReaderThatReadsNothing(t *testing.T) {
	b := newBench(t)
	u := b.open()
	hash, size := large(t, b, u)
	addr, client := server(t, u, func(c *update.ServerConfig) { c.BlockWait = 200 * time.Millisecond })
	url := "https://" + addr + updates.DownloadPath(hash)
	resp, err := begin(t, client("tcu"), url)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // what is in the buffers by then is all there is
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n >= int64(size) {
		t.Errorf("got %d of %d bytes, %v, want the download cut off", n, size, err)
	}
	slow, err := begin(t, client("ivi"), url)
	if err != nil {
		t.Fatal(err)
	}
	for got := int64(0); got < int64(size); {
		n, err := io.CopyN(io.Discard, slow.Body, min(4<<20, int64(size)-got))
		if got += n; err != nil {
			t.Fatalf("a slow reader: got %d of %d bytes, %v", got, size, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// held gives the first part of a file and the rest once it is told.
type held struct {
	first, rest io.Reader
	reached     chan struct{} // closed when the first part was read
	onward      chan struct{}
}

func hold(file []byte, at int) *held {
	return &held{first: bytes.NewReader(file[:at]), rest: bytes.NewReader(file[at:]), reached: make(chan struct{}), onward: make(chan struct{})}
}

func (h *held) Read(p []byte) (int, error) {
	if n, err := h.first.Read(p); err == nil {
		return n, nil
	}
	select {
	case <-h.reached:
	default:
		close(h.reached)
	}
	<-h.onward
	return h.rest.Read(p)
}

// TestUploadsAddUp: uploads at once need room together, as much as they have announced and not written yet.
func TestUploadsAddUp(t *testing.T) {
	b := newBench(t)
	file := func(release uint64) []byte { return b.file(release, 1<<20) }
	size := int64(len(file(1)))
	var free atomic.Int64
	free.Store(256<<20 + 2*size + size/2)
	u := b.open(func(c *update.Config) { c.Free = func(string) (int64, error) { return free.Load(), nil } })
	ended := make(chan error, 2)
	var under [2]*held
	for i := range under {
		under[i] = hold(file(uint64(i)+1), int(size/2))
		go func() {
			_, err := u.Upload(t.Context(), under[i])
			ended <- err
		}()
		<-under[i].reached
	}
	free.Add(-size) // what the two have written
	if _, err := u.Upload(t.Context(), bytes.NewReader(file(3))); !errors.Is(err, update.ErrNoSpace) {
		t.Errorf("a third upload: got %v, want %v", err, update.ErrNoSpace)
	}
	for _, h := range under {
		close(h.onward)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	free.Store(256<<20 + size)
	if _, err := u.Upload(t.Context(), bytes.NewReader(file(3))); err != nil {
		t.Errorf("alone: %v", err)
	}
	broken := hold(file(4)[:size/2], int(size/2))
	close(broken.onward)
	if _, err := u.Upload(t.Context(), broken); err == nil {
		t.Error("a broken upload: got no error")
	}
	if _, err := u.Upload(t.Context(), bytes.NewReader(file(5))); err != nil {
		t.Errorf("after a broken one: %v", err)
	}
}
