//go:build linux

package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Console prints what this process and its children say. Nobody who says something ever waits for the console: a terminal that takes nothing
// any more, as after Ctrl-S or noise on a serial line, must not keep the watchdog from being fed, or the agent from working. What finds no
// room is dropped and counted. It also keeps the terminal itself from the children, who could stop it.
type Console struct {
	out      io.Writer
	own      chan []byte // lines of this process, which are not dropped because of what its children say
	children chan []byte
	dropped  atomic.Int64
	pending  atomic.Int64 // lines in the queues or being printed
}

// Bounds of what waits to be printed: this process's and its children's lines, and the bytes of a line. All together
// take less than 2 MiB.
const (
	ownLines   = 64
	childLines = 256
	maxLine    = 4 << 10
)

// NewConsole prints to out until the process ends.
func NewConsole(out io.Writer) *Console {
	c := &Console{out: out, own: make(chan []byte, ownLines), children: make(chan []byte, childLines)}
	go c.print()
	return c
}

func (c *Console) print() {
	for {
		var line []byte
		select {
		case line = <-c.own:
		default:
			select {
			case line = <-c.own:
			case line = <-c.children:
			}
		}
		if n := c.dropped.Swap(0); n > 0 {
			fmt.Fprintf(c.out, "telltale-init: %d lines dropped, the console was blocked\n", n)
		}
		_, _ = c.out.Write(line) // there is nobody to tell
		c.pending.Add(-1)
	}
}

// put queues a line.
func (c *Console) put(queue chan<- []byte, line []byte) {
	c.pending.Add(1)
	select {
	case queue <- line:
	default:
		c.pending.Add(-1)
		c.dropped.Add(1)
	}
}

// Say prints a line of this process, with the seconds since the kernel started.
func (c *Console) Say(format string, args ...any) {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	c.put(c.own, fmt.Appendf(nil, "telltale-init: %d.%02d "+format+"\n", append([]any{now.Sec, now.Nsec / 10_000_000}, args...)...))
}

// Pipe gives a file for the output of children: each line of it is printed as a whole, the longest in pieces.
func (c *Console) Pipe() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		in := bufio.NewReaderSize(r, maxLine)
		for {
			line, err := in.ReadSlice('\n')
			if len(line) > 0 {
				c.put(c.children, append([]byte(nil), line...))
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
	}()
	return w, nil
}

// Flush waits until all has been printed, but no longer than d: the console may be blocked.
func (c *Console) Flush(d time.Duration) {
	for end := time.Now().Add(d); c.pending.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
