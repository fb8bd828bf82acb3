package update

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/firmware"
)

const (
	// syncEvery is how much of a file may be in memory only. After a start the
	// part is taken for good up to a multiple of it.
	syncEvery = 256 << 10
	// spare is what is left free on the disk for the buffer and everything else, in bytes.
	spare = 16 << 20
	// maxRefusals is how often in a row the cloud may refuse before the update fails.
	maxRefusals = 6
	partSuffix  = ".part"
	dialTimeout = 10 * time.Second
)

var (
	// errInterrupted: another document has arrived.
	errInterrupted = errors.New("download is interrupted by a document")
	// errRefused: the cloud answered, and does not give the file.
	errRefused = errors.New("the cloud does not give the file")
)

// newClient talks to download endpoints only: no proxy, no redirect to another host.
func newClient(cfg Config) *http.Client {
	transport := &http.Transport{
		TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: cfg.Timing.Idle, DisableCompression: true,
		MaxResponseHeaderBytes: 16 << 10, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
	}
	if cfg.TLS != nil {
		transport.TLSClientConfig = cfg.TLS.Clone()
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// part is the file under way. Its name is its content's, so that it is never taken for another one.
func (u *Updater) partial() string {
	return filepath.Join(u.cfg.Dir, u.j.Document.File.String()+partSuffix)
}

// have is how much of the file is there.
func (u *Updater) have() int64 {
	switch u.j.State {
	case updates.Delivered, updates.Downloading:
		if info, err := os.Stat(u.partial()); err == nil {
			return min(info.Size(), u.j.Document.Size)
		}
		return 0
	case updates.Verified, updates.Installing, updates.Rebooting, updates.Confirmed, updates.RolledBack:
		return u.j.Document.Size
	}
	return 0
}

// cleanUp removes all parts but the one of that name.
func (u *Updater) cleanUp(keep string) {
	partials, err := filepath.Glob(filepath.Join(u.cfg.Dir, "*"+partSuffix))
	for _, name := range partials {
		if name != keep {
			err = errors.Join(err, durable.Plain(os.Remove(name)))
		}
	}
	if err != nil {
		u.cfg.Log.Warn("update files are left over", "error", err)
	}
}

// makeRoom removes what earlier updates left and says whether the file fits.
func (u *Updater) makeRoom() error {
	u.cleanUp(u.partial())
	size := u.j.Document.Size
	if size > u.cfg.MaxBytes {
		return fmt.Errorf("the file has %d bytes, expected at most %d", size, u.cfg.MaxBytes)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(u.cfg.Dir, &fs); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if need := size - u.have() + spare; free < need {
		return fmt.Errorf("%d bytes are free, expected at least %d", free, need)
	}
	return nil
}

// download fetches the rest of the file, over as many connections as it takes, and verifies it.
func (u *Updater) download(ctx context.Context) error {
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if !u.interruptible(func() { stop(errInterrupted) }) {
		return errInterrupted
	}
	defer u.interruptible(nil)
	wait := u.cfg.Timing.BackoffMin
	for try := 0; ; try++ {
		before := u.have()
		err := u.fetch(work, u.cfg.Endpoints[try%len(u.cfg.Endpoints)])
		var v *verdict
		switch {
		case work.Err() != nil:
			return context.Cause(work)
		case err == nil:
			return u.verify()
		case errors.As(err, &v):
			return u.fail(v.reason, v.err)
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			return u.fail(reasons.NoSpace, durable.Plain(err))
		case errors.Is(err, errRefused):
			if u.refusals++; u.refusals >= maxRefusals {
				return u.fail(reasons.DownloadRefused, err)
			}
		}
		u.cfg.Log.Warn("download is interrupted", "bytes", u.have(), "size", u.j.Document.Size, "error", err)
		if u.have() > before {
			wait, u.refusals = u.cfg.Timing.BackoffMin, 0
		}
		u.pause(work, wait/2+rand.N(wait/2+1))
		wait = min(2*wait, u.cfg.Timing.BackoffMax)
	}
}

// interruptible says how a document that arrives ends the download; false when one has arrived already.
func (u *Updater) interruptible(stop func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.interrupt = stop
	return u.newest == nil
}

// verdict is an end of the update that no further try changes.
type verdict struct {
	reason reasons.Reason
	err    error
}

func (v *verdict) Error() string { return v.err.Error() }

// fetch goes on where the part ends. It returns nil when the file has its size.
func (u *Updater) fetch(ctx context.Context, endpoint string) error {
	file, at, err := u.openPartial()
	if err != nil {
		return err
	}
	defer file.Close()
	if at == u.j.Document.Size {
		return u.checkHeader(file)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := u.request(ctx, endpoint, at)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && at > 0 { // no ranges there, or another file
		if at, err = 0, file.Truncate(0); err != nil {
			return err
		}
	}
	idle := time.AfterFunc(u.cfg.Timing.Idle, cancel)
	defer idle.Stop()
	return u.receive(&patient{resp.Body, idle, u.cfg.Timing.Idle}, file, at)
}

// patient reads as long as something comes.
type patient struct {
	from io.Reader
	idle *time.Timer
	wait time.Duration
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.idle.Reset(p.wait)
	return n, err
}

// openPartial opens the partial download and says where it ends. What a former process wrote last may not be on disk.
func (u *Updater) openPartial() (*os.File, int64, error) {
	file, err := os.OpenFile(u.partial(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil {
		at := min(info.Size(), u.j.Document.Size)
		if !u.exact && at < u.j.Document.Size {
			at -= at % syncEvery
		}
		if err = file.Truncate(at); err == nil {
			u.exact = true
			return file, at, nil
		}
	}
	return nil, 0, errors.Join(err, file.Close())
}

// request asks for the file from at on.
func (u *Updater) request(ctx context.Context, endpoint string, at int64) (*http.Response, error) {
	doc := &u.j.Document
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+endpoint+updates.DownloadPath(doc.File), nil)
	if err != nil {
		return nil, err
	}
	if at > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(at, 10)+"-")
		req.Header.Set("If-Range", `"`+doc.File.String()+`"`)
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	want := "bytes " + strconv.FormatInt(at, 10) + "-" + strconv.FormatInt(doc.Size-1, 10) + "/" + strconv.FormatInt(doc.Size, 10)
	switch {
	case resp.StatusCode == http.StatusPartialContent && resp.Header.Get("Content-Range") == want,
		resp.StatusCode == http.StatusOK && resp.ContentLength == doc.Size:
		return resp, nil
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil, fmt.Errorf("download: the cloud answered %s", resp.Status)
	}
	return nil, fmt.Errorf("%s, %d bytes: %w", resp.Status, resp.ContentLength, errRefused)
}

// receive writes what comes to the part, on disk every syncEvery bytes, and ends
// as soon as the header says that the update will be refused.
func (u *Updater) receive(from io.Reader, file *os.File, at int64) error {
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return err
	}
	size, told := u.j.Document.Size, time.Now()
	checked := false
	for at < size {
		n, err := io.CopyN(file, from, min(size-at, syncEvery-at%syncEvery))
		at += n
		if syncErr := file.Sync(); err == nil {
			err = syncErr
		}
		if !checked && (at >= firmware.MaxHeader+64 || at == size) {
			if err := u.checkHeader(file); err != nil {
				return err
			}
			checked = true
		}
		if err != nil {
			return err
		}
		if time.Since(told) >= u.cfg.Timing.Progress && at < size {
			told = time.Now()
			if err := u.move(func(*journal) {}); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkHeader refuses at once what no further byte makes better.
func (u *Updater) checkHeader(file *os.File) error {
	h, err := firmware.ReadHeader(io.NewSectionReader(file, 0, u.j.Document.Size))
	if err == nil {
		err = h.Check(u.policy())
	}
	if err != nil {
		return &verdict{reasonOf(err), err}
	}
	return nil
}

// verify reads the whole file once: its hash, the signature, and the payload's.
func (u *Updater) verify() error {
	file, err := os.Open(u.partial())
	if err != nil {
		return durable.Plain(err)
	}
	defer file.Close()
	digest := sha256.New()
	whole := io.TeeReader(file, digest)
	opened, problem := firmware.Open(whole, u.policy())
	if problem == nil {
		_, problem = io.Copy(io.Discard, opened.Payload())
	}
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return durable.Plain(err)
	}
	if updates.FileHash(digest.Sum(nil)) != u.j.Document.File {
		return u.damaged()
	}
	if problem != nil {
		return u.fail(reasonOf(problem), problem)
	}
	return u.move(func(j *journal) { j.State = updates.Verified })
}

// damaged begins the download anew, once: the disk may have lost what was written before a cut.
func (u *Updater) damaged() error {
	if u.again {
		return u.fail(reasons.Corrupt, errors.New("the file has another SHA-256 than announced, twice"))
	}
	u.again = true
	u.cfg.Log.Warn("downloaded file is damaged and fetched once more")
	return durable.Plain(os.Remove(u.partial()))
}
