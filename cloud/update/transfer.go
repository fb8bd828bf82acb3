package update

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/protocol/principal"
)

// Bounds of downloads. A place costs an open file and a goroutine.
const (
	maxDownloads = 256 // of all devices at once; more are answered 503
	// deviceDownloads is how many one device has at once: the one that goes on and one
	// that was cut off and is not noticed yet. A further one ends its own oldest.
	deviceDownloads = 2
	// A device takes each block within blockWait, so at least 1 KiB a second, or it is cut off; it goes on later.
	blockSize        = 16 << 10 // bytes
	defaultBlockWait = 15 * time.Second
)

// errReplaced ends a download in favour of a newer one of the same device.
var errReplaced = errors.New("a newer download of the device has begun")

// transfers are the downloads under way.
type transfers struct {
	mu       sync.Mutex                          // guards the rest
	byHolder map[principal.Principal][]*transfer // oldest first; without the certificate, which may be renewed
	total    int
}

// begin takes a place for t; false when there is none.
func (d *transfers) begin(who principal.Principal, t *transfer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.byHolder[who]
	switch {
	case len(own) >= deviceDownloads:
		own[0].cut()
		own = own[1:]
	case d.total >= maxDownloads:
		return false
	default:
		d.total++
	}
	if d.byHolder == nil {
		d.byHolder = map[principal.Principal][]*transfer{}
	}
	d.byHolder[who] = append(own[:len(own):len(own)], t)
	return true
}

// end gives the place of t back, unless a newer download of the holder has it.
func (d *transfers) end(who principal.Principal, t *transfer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.byHolder[who]
	for i := range own {
		if own[i] != t {
			continue
		}
		d.total--
		if len(own) == 1 {
			delete(d.byHolder, who)
			return
		}
		d.byHolder[who] = append(own[:i:i], own[i+1:]...)
		return
	}
}

// transfer writes one download, block by block: each has a time of its own, so
// that a slow download may last and a dead one may not.
type transfer struct {
	http.ResponseWriter
	control *http.ResponseController
	wait    time.Duration // for each block
	sent    *atomic.Uint64
	ended   atomic.Bool
}

// cut ends it from another goroutine.
func (t *transfer) cut() {
	t.ended.Store(true)
	_ = t.control.SetWriteDeadline(time.Now()) // Write sets its own and looks then: one of us is last
}

// Write implements io.Writer.
func (t *transfer) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if err := t.control.SetWriteDeadline(time.Now().Add(t.wait)); err != nil {
			return written, err
		}
		if t.ended.Load() {
			return written, errReplaced
		}
		n, err := t.ResponseWriter.Write(p[:min(len(p), blockSize)])
		t.sent.Add(uint64(n))
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}
