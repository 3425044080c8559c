//go:build unix

package doctor

import "syscall"

// openFileLimit returns how many files this process may have open. The limit is the hard one: Go raises
// the other to it when a process begins.
func openFileLimit() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true //nolint:unconvert // it is signed on some systems
}
