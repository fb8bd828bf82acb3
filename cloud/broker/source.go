package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// source is the network connection below TLS. A goroutine that waits inside crypto/tls keeps a stack of 8 KiB; once
// shallow is set TLS never waits: it is given what was read, or errNothingRead, and the reader waits in await, where 4 KiB
// do. What was read ahead is at most readChunk bytes, of memory that all connections share; a connection at rest has none.
type source struct {
	net.Conn
	raw    syscall.RawConn // of Conn; nil: it has none, and shallow stays false
	chunks *sync.Pool      // of *[readChunk]byte

	// Owned by whoever reads.
	shallow bool
	chunk   *[readChunk]byte // nil: nothing is unread
	unread  []byte           // of chunk
	err     error            // of the last fetch
	fetch   func(fd uintptr) (done bool)

	arm func() // called before each write: TLS writes on its own, too, when a client wants new keys
}

func newSource(conn net.Conn, chunks *sync.Pool) *source {
	s := &source{Conn: conn, chunks: chunks}
	s.fetch = s.readOnce
	if below, ok := conn.(syscall.Conn); ok {
		if raw, err := below.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// NetConn gives the connection below.
func (s *source) NetConn() net.Conn { return s.Conn }

// Write implements net.Conn for TLS.
func (s *source) Write(p []byte) (int, error) {
	s.arm()
	return s.Conn.Write(p)
}

// Read implements net.Conn for TLS.
func (s *source) Read(p []byte) (int, error) {
	switch {
	case !s.shallow:
		return s.Conn.Read(p)
	case len(s.unread) == 0:
		return 0, errNothingRead{}
	}
	n := copy(p, s.unread)
	if s.unread = s.unread[n:]; len(s.unread) == 0 {
		s.chunks.Put(s.chunk)
		s.chunk, s.unread = nil, nil
	}
	return n, nil
}

// await reads from the network, when nothing is unread, and waits for it until the read deadline.
func (s *source) await() error {
	if err := s.raw.Read(s.fetch); err != nil {
		return err
	}
	return s.err
}

// readOnce reads what is there, and says whether there was something, if only an error.
func (s *source) readOnce(fd uintptr) (done bool) {
	chunk, _ := s.chunks.Get().(*[readChunk]byte)
	if chunk == nil {
		chunk = new([readChunk]byte)
	}
	n, err := syscall.Read(int(fd), chunk[:])
	for errors.Is(err, syscall.EINTR) {
		n, err = syscall.Read(int(fd), chunk[:])
	}
	s.err = nil
	switch {
	case err == nil && n > 0:
		s.chunk, s.unread = chunk, chunk[:n]
		return true
	case err == nil:
		s.err = io.EOF
	case !errors.Is(err, syscall.EAGAIN):
		s.err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	s.chunks.Put(chunk)
	return s.err != nil
}

// errNothingRead says that no bytes are there yet. It is temporary, because crypto/tls gives up a connection after any
// other error of Read, but reads again after a temporary one.
type errNothingRead struct{}

func (errNothingRead) Error() string   { return "nothing read yet" }
func (errNothingRead) Timeout() bool   { return true }
func (errNothingRead) Temporary() bool { return true }

// readSome is Read for the connection's reader.
func (c *connection) readSome(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			return n, nil // an error with it comes again
		}
		if _, wait := err.(errNothingRead); !wait {
			return 0, err
		}
		if err := c.source.await(); err != nil {
			return 0, err
		}
	}
}

// readFull fills p.
func (c *connection) readFull(p []byte) error {
	for len(p) > 0 {
		n, err := c.readSome(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
