package qemu

import (
	"fmt"
	"os"
	"path/filepath"
)

// Slowdown says how many times longer the machine has taken since its start than it would have without
// other programs on the host: 1 is undisturbed. It is the time in which the busiest of QEMU's threads, the emulated processor, ran
// or waited for a core, over that in which it ran (kernel, Documentation/scheduler/sched-stats.rst). The machine's own clock goes
// on while it waits, so that its times are that much longer.
func (m *Machine) Slowdown() (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", m.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var ran, waited float64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has just ended
		}
		var r, w float64
		if _, err := fmt.Sscan(string(text), &r, &w); err == nil && r > ran {
			ran, waited = r, w
		}
	}
	if ran == 0 {
		return 0, fmt.Errorf("qemu: %w: no accounts of its threads", os.ErrNotExist)
	}
	return (ran + waited) / ran, nil
}
