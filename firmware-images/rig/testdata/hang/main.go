// Command hang takes the only processor and never gives it back: what a driver
// that loops does to a machine. The watchdog is what ends it.
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	time.Sleep(time.Second)
	if err := os.WriteFile("/proc/sys/kernel/sched_rt_runtime_us", []byte("-1"), 0); err != nil {
		fmt.Println("hang:", err)
	}
	runtime.LockOSThread()
	priority := int32(99)
	if _, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&priority))); errno != 0 { // SCHED_FIFO
		fmt.Println("hang:", errno)
		return
	}
	fmt.Println("hang: this machine hears nobody any more")
	for {
	}
}
