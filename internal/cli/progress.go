package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progressEvery is the time between two lines where there is no terminal to draw a bar on.
const progressEvery = 5 * time.Second

// progress tells on stderr how far a batch has come: a bar on a terminal, elsewhere a line now and
// then and one at the end. It is safe for concurrent use; who makes it calls finish.
type progress struct {
	s     *state
	label string
	total int64

	mu   sync.Mutex
	bar  *progressbar.ProgressBar // nil: no terminal
	done int64
	told time.Time
}

// newProgress begins a batch of total items, or of an unknown number where total is -1.
func newProgress(s *state, label string, total int64) *progress {
	p := &progress{s: s, label: label, total: total, told: s.now()}
	if s.isTerminal(s.stderr) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(s.stderr),
			progressbar.OptionSetDescription(label),
			progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond),
			// The bar's own timer would outlive the batch.
			progressbar.OptionSetSpinnerChangeInterval(0),
			progressbar.OptionEnableColorCodes(s.useColor(s.stderr)),
		)
	}
	return p
}

// add says that n more items are done.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
	if p.bar != nil {
		_ = p.bar.Add(n) // a bar that cannot be drawn must not stop the batch
		return
	}
	if now := p.s.now(); now.Sub(p.told) >= progressEvery {
		p.told = now
		p.tell("")
	}
}

// finish ends the batch, complete or not, and leaves the cursor at the start of a line.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Exit()
		_, _ = fmt.Fprintln(p.s.stderr)
		return
	}
	p.tell(", finished")
}

func (p *progress) tell(suffix string) {
	if p.total < 0 {
		_, _ = fmt.Fprintf(p.s.stderr, "%s: %d%s\n", p.label, p.done, suffix)
		return
	}
	_, _ = fmt.Fprintf(p.s.stderr, "%s: %d of %d%s\n", p.label, p.done, p.total, suffix)
}
