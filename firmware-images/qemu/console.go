package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// consoleKeep is how much of a console is kept; what is older is forgotten.
const consoleKeep = 4 << 20

// consoleTail is how many lines of a console an error holds.
const consoleTail = 40

// errEnded says that the guest will print no more.
var errEnded = errors.New("the guest has ended")

// console collects what the guest prints and wakes those who wait for a text.
type console struct {
	echo io.Writer

	mu    sync.Mutex // guards all below
	kept  []byte
	found int           // how much of kept lies before the end of the last text found
	more  chan struct{} // closed, and made anew, with each write
	ended bool
}

func newConsole(echo io.Writer) *console { return &console{echo: echo, more: make(chan struct{})} }

// Write implements io.Writer for QEMU's standard output.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, p...)
	if over := len(c.kept) - consoleKeep; over > 0 {
		c.kept = append([]byte(nil), c.kept[over+consoleKeep/4:]...)
		c.found = max(0, c.found-over-consoleKeep/4)
	}
	close(c.more)
	c.more = make(chan struct{})
	if c.echo != nil {
		c.echo.Write(p) // a copy; a failing one is not the guest's fault
	}
	return len(p), nil
}

func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.more)
	c.more = make(chan struct{})
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.kept)
}

func (c *console) waitFor(ctx context.Context, text string) error {
	for {
		c.mu.Lock()
		i := bytes.Index(c.kept[c.found:], []byte(text))
		if i >= 0 {
			c.found += i + len(text)
		}
		more, ended := c.more, c.ended
		c.mu.Unlock()
		switch {
		case i >= 0:
			return nil
		case ended:
			return fmt.Errorf("qemu: waiting for %q: %w; the console's last lines:\n%s", text, errEnded, Tail(c.text(), consoleTail))
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("qemu: waiting for %q: %w; the console's last lines:\n%s", text, ctx.Err(), Tail(c.text(), consoleTail))
		}
	}
}

// Tail gives the last lines of a console's text, without carriage returns.
func Tail(text string, lines int) string {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n")
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
