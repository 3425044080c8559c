package cli

import (
	"fmt"
	"time"
)

// timeFlag reads the time that a flag names: RFC 3339, or how long ago it was; the zero time where it
// is not given.
func timeFlag(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, &usageError{
		fmt.Sprintf("%s %q is neither a time nor how long ago it was", flag, text),
		"give it as 2026-11-23T08:00:00+08:00, or as 36h or 90m",
	}
}
