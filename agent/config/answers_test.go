package config_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestFloodOfDocuments: however many documents come, the answers that wait in the buffer
// are few, and the newest is told in the end.
func TestFloodOfDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, r := &engine{}, &reports{}
		k := open(t, t.TempDir(), e, r)
		defer k.Close()
		const flood = 10_000
		for i := range flood {
			k.Take(t.Context(), []byte(fmt.Sprint("nonsense ", i)))
		}
		k.Take(t.Context(), setDocument(t, 5, campaign("last", 5, "")))
		if got := len(r.take()); got > 16 {
			t.Errorf("got %d answers at once, want at most 16", got)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		equal(t, "the newest", r.take(), []string{"last@5 ACTIVE"})

		for i := range 100 { // again, and the answer cannot be stored
			k.Take(t.Context(), []byte(fmt.Sprint("more nonsense ", i)))
		}
		r.take()
		r.fail = errors.New("disk")
		good := setDocument(t, 6, campaign("last", 6, ""))
		k.Take(t.Context(), good)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		r.fail = nil
		k.Take(t.Context(), good)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		equal(t, "when it comes again", r.take(), []string{"last@6 ACTIVE"})

		for i := range 100 {
			k.Take(t.Context(), []byte(fmt.Sprint("nonsense at the end ", i)))
		}
		r.take()
		k.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "after Close", r.take(), nil)
	})
}
