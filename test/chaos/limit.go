//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// limitFiles lets no file that a process writes grow beyond size bytes.
func limitFiles(pid int, size uint64) error {
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: size}, nil); err != nil {
		return fmt.Errorf("limit the files of process %d: %w", pid, err)
	}
	return nil
}
