//go:build linux

package fleet

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory returns the most memory that the worker's process has had resident so far, in bytes; 0 where it
// does not run. (What the system tells of a process that has ended counts its parent's, before exec.)
func (w *Worker) Memory() (int64, error) {
	if !w.Running() {
		return 0, nil
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(w.cmd.Process.Pid) + "/status")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("memory of the worker: %w", err)
	}
	return peak(string(text)), nil
}

// peak reads the line VmHWM, in KiB; a process that is ending has none.
func peak(status string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64) // the kernel's own
			return n << 10
		}
	}
	return 0
}
