//go:build linux

package stage

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"replyworker/test/fleet"
)

// Metrics are what a worker's /metrics says: each series, labels and all, with its value.
type Metrics map[string]float64

// MetricsOf asks a worker.
func MetricsOf(ctx context.Context, w *fleet.Worker) (Metrics, error) {
	status, text, err := w.Get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("metrics: status %d", status)
	}
	return parseMetrics(text), nil
}

func parseMetrics(text string) Metrics {
	found := Metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			found[line[:i]] = v
		}
	}
	return found
}
