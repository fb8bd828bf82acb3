package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol/can"
)

// tick is the shortest pause between two writes.
const tick = 2 * time.Millisecond

// Play puts the frames of a candump log, plain or compressed with zstd, on the
// board's bus with the recorded timing, again and again until ctx ends or the
// board is off. It gives the number of frames.
func (r *Rig) Play(ctx context.Context, log string) (frames uint64, err error) {
	port := r.machine.Channel(cable)
	for ctx.Err() == nil && err == nil {
		var n uint64
		n, err = playOnce(ctx, port, log)
		frames += n
	}
	if ctx.Err() != nil {
		return frames, nil
	}
	return frames, fmt.Errorf("play: %w", err)
}

// playOnce plays the log from its first frame to its last.
func playOnce(ctx context.Context, port io.Writer, log string) (frames uint64, err error) {
	f, err := os.Open(log)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(log, ".zst") {
		decoder, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return 0, err
		}
		defer decoder.Close()
		in = decoder
	}
	out := bufio.NewWriterSize(port, 64<<10)
	began, first := time.Now(), int64(0)
	var frame can.Frame
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if _, err := can.ParseCandump(lines.Bytes(), &frame); err != nil {
			return frames, fmt.Errorf("%w: expected a candump log", err)
		}
		if first == 0 {
			first = frame.Time
		}
		if ahead := time.Duration(frame.Time-first)*time.Microsecond - time.Since(began); ahead > tick {
			if err := out.Flush(); err != nil {
				return frames, err
			}
			select {
			case <-ctx.Done():
				return frames, ctx.Err()
			case <-time.After(ahead):
			}
		}
		if _, err := out.Write(append(lines.Bytes(), '\n')); err != nil {
			return frames, err
		}
		frames++
	}
	if frames == 0 {
		return 0, errors.New("the log is empty")
	}
	return frames, out.Flush()
}
