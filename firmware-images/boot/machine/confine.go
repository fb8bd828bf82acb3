//go:build linux

package machine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// switches are the kernel's switches by which users without rights reach less of it, below /proc/sys. A kernel
// that lacks one lacks what it is about.
func switches() [][2]string {
	return [][2]string{
		{"user/max_user_namespaces", "0"},         // in its own namespace a user has all capabilities, and reaches code that expects root
		{"kernel/unprivileged_bpf_disabled", "1"}, // until the next start
		{"kernel/unprivileged_userns_clone", "0"}, // Debian's
		{"kernel/perf_event_paranoid", "3"},       // 3 is Debian's; others take it as 2
		{"kernel/dmesg_restrict", "1"},
		{"kernel/kptr_restrict", "2"},
		{"kernel/yama/ptrace_scope", "2"},
		{"vm/unprivileged_userfaultfd", "0"},
		// A user cannot link to files of others, which would be given to it at the next start, nor lead root's writes elsewhere.
		{"fs/protected_hardlinks", "1"},
		{"fs/protected_symlinks", "1"},
		{"fs/protected_fifos", "2"},
		{"fs/protected_regular", "2"},
	}
}

// Confine takes from users without rights what the agent does not need. It is called before the first of their programs runs.
func Confine() error { return confine("/proc/sys") }

func confine(root string) error {
	var errs []error
	for _, s := range switches() {
		f, err := os.OpenFile(filepath.Join(root, s[0]), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString(s[1])
			err = errors.Join(err, f.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
