//go:build linux

package stage

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"replyworker/test/fleet"
)

// Profile writes profiles of a worker, its CPU over the next four seconds and all that it has allocated since its
// start, to files DIR/NAME-cpu.pprof and DIR/NAME-allocs.pprof.
func Profile(ctx context.Context, w *fleet.Worker, dir, name string) error {
	for file, path := range map[string]string{"cpu": "profile?seconds=4", "allocs": "allocs"} {
		status, text, err := w.Get(ctx, "/debug/pprof/"+path)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+"-"+file+".pprof"), []byte(text), 0o600)
		}
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	return nil
}
