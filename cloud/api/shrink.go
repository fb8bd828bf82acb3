package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Sizes of answers, in bytes. Each answer under way has one buffer, and one writer of gzip when it is larger.
const (
	worthZipping = 1 << 10   // smaller ones are sent as they are
	buffered     = 256 << 10 // up to here an answer gets an ETag; larger ones leave as they come
)

// zippers are shared, because each has some 800 KiB of memory.
var zippers = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}

// shrink sends answers to GET with gzip to who takes it, and with an ETag, so that who
// has an answer already gets 304. Streams of events and answers that are no text are left alone.
func shrink(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		s := &shrunk{to: w, zip: takesGzip(r.Header.Get("Accept-Encoding")), known: r.Header.Get("If-None-Match")}
		defer s.end()
		next.ServeHTTP(s, r)
	})
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3): gzip or *, unless with the weight 0.
func takesGzip(accept string) bool {
	for entry := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(entry, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q := strings.TrimSpace(weight)
		if name == "gzip" || name == "*" {
			return strings.TrimRight(strings.TrimPrefix(q, "q="), "0.") != "" || q == ""
		}
	}
	return false
}

// shrunk is an answer that is held back until its end, or until it is too large for that.
type shrunk struct {
	to     http.ResponseWriter
	zip    bool
	known  string // If-None-Match
	status int
	body   bytes.Buffer
	plain  bool         // passed through as it is
	zipper *gzip.Writer // once the body is too large to be held
}

// Header implements http.ResponseWriter.
func (s *shrunk) Header() http.Header { return s.to.Header() }

// Unwrap is for http.ResponseController.
func (s *shrunk) Unwrap() http.ResponseWriter { return s.to }

// WriteHeader implements http.ResponseWriter.
func (s *shrunk) WriteHeader(status int) {
	if s.status != 0 {
		return
	}
	s.status = status
	content, _, _ := strings.Cut(s.Header().Get("Content-Type"), ";")
	if s.Header().Get("Content-Encoding") != "" {
		content = "" // it is gzip already
	}
	switch content {
	case "application/json", "application/problem+json", "application/yaml", "text/plain":
	default:
		s.plain = true
		s.to.WriteHeader(status)
	}
}

// Write implements io.Writer.
func (s *shrunk) Write(p []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	switch {
	case s.plain:
		return s.to.Write(p)
	case s.zipper != nil:
		return s.zipper.Write(p)
	case s.body.Len()+len(p) <= buffered:
		return s.body.Write(p)
	}
	s.Header().Add("Vary", "Accept-Encoding")
	if !s.zip {
		s.plain = true
		s.to.WriteHeader(s.status)
		if _, err := s.to.Write(s.body.Bytes()); err != nil {
			return 0, err
		}
		return s.to.Write(p)
	}
	s.startZip()
	if _, err := s.zipper.Write(s.body.Bytes()); err != nil {
		return 0, err
	}
	return s.zipper.Write(p)
}

func (s *shrunk) startZip() {
	s.Header().Set("Content-Encoding", "gzip")
	s.Header().Del("Content-Length")
	s.to.WriteHeader(s.status)
	s.zipper = zippers.Get().(*gzip.Writer)
	s.zipper.Reset(s.to)
}

// end sends what was held back.
func (s *shrunk) end() {
	switch {
	case s.status == 0 || s.plain:
		return
	case s.zipper == nil && s.tagged():
		return
	case s.zipper == nil && s.zip && s.body.Len() >= worthZipping:
		s.startZip()
		_, _ = s.zipper.Write(s.body.Bytes()) // the client is gone when it fails
	case s.zipper == nil:
		s.Header().Set("Content-Length", strconv.Itoa(s.body.Len()))
		s.to.WriteHeader(s.status)
		_, _ = s.to.Write(s.body.Bytes())
		return
	}
	_ = s.zipper.Close()
	s.zipper.Reset(nil)
	zippers.Put(s.zipper)
}

// tagged gives a good answer its ETag, and says whether the client has it already and was told so.
func (s *shrunk) tagged() bool {
	s.Header().Add("Vary", "Accept-Encoding")
	if s.status != http.StatusOK {
		return false
	}
	sum := sha256.Sum256(s.body.Bytes())
	tag := `W/"` + hex.EncodeToString(sum[:8]) + `"` // weak: with and without gzip it is the same (RFC 9110, 8.8.1)
	s.Header().Set("ETag", tag)
	for entry := range strings.SplitSeq(s.known, ",") {
		if entry = strings.TrimSpace(entry); entry == "*" || entry == tag || "W/"+entry == tag {
			s.Header().Del("Content-Type")
			s.to.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}
