package batch

import (
	"context"
	"errors"

	"telltale.dev/agent/collect"
)

// errEnded says that Flush came when Run had returned.
var errEnded = errors.New("the stage has ended")

// Flush seals every open batch, with what waits at the stage's entrance, and returns when
// all is on disk. It needs a Run that runs, and may be called from any goroutine. When
// ctx ends first it returns ctx.Err(); the batches are still written then.
func (s *Sealer) Flush(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case s.flush <- done:
	case <-s.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Alive returns nil when Run answers: it collects, or waits for a disk that refuses.
// Else it returns ctx.Err(). It may be called from any goroutine.
func (s *Sealer) Alive(ctx context.Context) error {
	select {
	case s.alive <- struct{}{}:
		return nil
	case <-s.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushed is Flush within Run.
func (s *Sealer) flushed(ctx context.Context, in <-chan *collect.Block) error {
	for range len(in) { // at least so many are there: nobody else takes them
		b := <-in
		err := s.Add(ctx, b)
		s.cfg.Release(b)
		if err != nil {
			return err
		}
	}
	return s.Finish(ctx)
}
