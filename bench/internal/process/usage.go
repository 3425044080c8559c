//go:build linux

package process

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc, the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPU is the time that a process has spent on cores, its own and the system's for it.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("cpu time of a process: %w", err)
	}
	return cpu(string(text))
}

// cpu reads the fields utime and stime. The name before them, in brackets, may have spaces and brackets.
func cpu(stat string) (time.Duration, error) {
	_, rest, ok := cutLast(stat, ")")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12
	if !ok || len(fields) <= stime {
		return 0, fmt.Errorf("cpu time of a process: %q is no line of /proc/PID/stat", stat)
	}
	var sum int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cpu time of a process: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Machine is the time that all cores together have been busy since the machine started.
func Machine() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("cpu time of the machine: %w", err)
	}
	return machine(string(text))
}

// machine reads the first line: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
func machine(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	const all, idle, iowait = 9, 4, 5
	if len(fields) < all || fields[0] != "cpu" {
		return 0, fmt.Errorf("cpu time of the machine: %q is no line of /proc/stat", line)
	}
	var sum int64
	for i := 1; i < all; i++ {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cpu time of the machine: %w", err)
		}
		if i != idle && i != iowait {
			sum += n
		}
	}
	return time.Duration(sum) * tick, nil
}

// Describe names the machine: cores, their kind, memory.
func Describe() string {
	model := field("/proc/cpuinfo", "model name")
	memory := strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")
	kib, _ := strconv.ParseInt(memory, 10, 64) // 0 where the kernel does not say.
	return fmt.Sprintf("%d cores (%s), %d GiB, %s/%s, %s", runtime.NumCPU(), model, (kib+1<<19)>>20, runtime.GOOS, runtime.GOARCH,
		runtime.Version())
}

// field is the value of the first line of a file in /proc that has a name, "unknown" where there is none.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
