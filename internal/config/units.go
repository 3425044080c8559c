package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// parseDuration reads a duration as time.ParseDuration does, and whole days too: "14d".
func parseDuration(text string) (time.Duration, bool) {
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n > math.MaxInt64/int64(24*time.Hour) || n < 0 {
			return 0, false
		}
		return time.Duration(n) * 24 * time.Hour, true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// formatDuration writes a duration without the zeros of time.Duration's String: "336h", "1m".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

type byteUnit struct {
	name  string
	bytes int64
}

// byteUnits are those written out, the largest first; Ki, Mi and Gi are Kubernetes' spelling.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"Gi", 1 << 30},
		{"Mi", 1 << 20},
		{"Ki", 1 << 10},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
		{"B", 1},
	}
}

// parseBytes reads a size: a whole number, and a unit of byteUnits in any case, or none for bytes.
func parseBytes(text string) (int64, bool) {
	number, unit := text, int64(1)
	for _, u := range byteUnits() {
		cut := len(text) - len(u.name)
		if cut > 0 && strings.EqualFold(text[cut:], u.name) {
			number, unit = strings.TrimSpace(text[:cut]), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// formatBytes writes a size in the largest binary unit that divides it.
func formatBytes(n int64) string {
	for _, u := range byteUnits()[:3] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
