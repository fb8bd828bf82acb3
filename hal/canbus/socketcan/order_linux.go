package socketcan

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxProcessors is CPU_SETSIZE of sched.h.
const maxProcessors = 1024

// InOrder calls send on one processor, always the same one. Frames that go out on a virtual interface come back through a queue
// of the processor that sent them: those of a thread that moves from one processor to another overtake one another. A controller
// has one queue for all, and needs nothing of the kind. The error is send's, or that of the system.
func InOrder(send func() error) (err error) {
	runtime.LockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("processors of this thread: %w", err)
	}
	var first unix.CPUSet
	for i := range maxProcessors {
		if before.IsSet(i) {
			first.Set(i)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("processor %v of this thread: %w", first, err)
	}
	defer func() {
		if again := unix.SchedSetaffinity(0, &before); again != nil {
			return // the thread stays with this goroutine, and ends with it
		}
		runtime.UnlockOSThread()
	}()
	return send()
}
