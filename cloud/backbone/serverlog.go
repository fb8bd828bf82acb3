package backbone

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
)

// serverLog takes nats-server's own log: warnings and errors go on, without the
// machine's paths; the rest is dropped. It implements server.Logger.
type serverLog struct {
	log   *slog.Logger
	fault *fault

	mu    sync.Mutex // guards fatal
	fatal string
}

// Texts in the log lines about a write that failed, after which JetStream takes nothing more.
const (
	writeError = "critical write error"
	disabled   = "will be disabled"
)

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("nats-server", "said", redact(fmt.Sprintf(format, v...)))
}

func (l *serverLog) Errorf(format string, v ...any) {
	said := fmt.Sprintf(format, v...)
	l.log.Error("nats-server", "said", redact(said))
	if lower := strings.ToLower(said); strings.Contains(lower, writeError) || strings.Contains(lower, disabled) {
		l.fault.report(said)
	}
}

// Fatalf keeps the reason why the server does not start; Open returns it.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		l.fatal = redact(fmt.Sprintf(format, v...))
	}
}

func (l *serverLog) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// redact replaces each absolute path by its last element: log lines travel
// further than the machine's layout should.
func redact(text string) string {
	words := strings.Split(text, " ")
	for i, word := range words {
		at := strings.IndexByte(word, '/')
		if at < 0 || at > 0 && !strings.ContainsRune(`"'([=:`, rune(word[at-1])) {
			continue
		}
		path := strings.TrimRight(word[at:], `"'):,]`)
		words[i] = word[:at] + filepath.Base(path) + word[at+len(path):]
	}
	return strings.Join(words, " ")
}
