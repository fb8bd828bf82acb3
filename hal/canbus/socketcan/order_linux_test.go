package socketcan_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus/socketcan"
)

// TestInOrder: whoever sends in order does so on one processor, the same one for all, and has the others again afterwards.
func TestInOrder(t *testing.T) {
	processors := func() (set unix.CPUSet) {
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Error(err)
		}
		return set
	}
	failure := errors.New("refused")
	var mu sync.Mutex
	used := map[unix.CPUSet]int{}
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before := processors()
			for range 50 {
				err := socketcan.InOrder(func() error {
					mu.Lock()
					defer mu.Unlock()
					used[processors()]++
					return failure
				})
				if err != failure {
					t.Errorf("got %v, want %v", err, failure)
				}
				if after := processors(); after != before {
					t.Errorf("got processors %v afterwards, want %v", after, before)
				}
			}
		})
	}
	senders.Wait()
	for set, n := range used {
		if len(used) != 1 || n != 8*50 || set.Count() != 1 {
			t.Errorf("sent %d times on %d processors, in all on %d sets of them; want always the same one", n, set.Count(), len(used))
		}
	}
}
