package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	lineEvery      = 200 * time.Millisecond // on a terminal, where it is drawn over
	plainLineEvery = time.Second
)

// screen shows one live line, and events above it. It is safe for concurrent use.
type screen struct {
	w        io.Writer
	terminal bool
	began    time.Time

	mu    sync.Mutex
	shown bool // a live line stands on the terminal
	last  time.Time
}

func newScreen(w io.Writer, terminal bool, began time.Time) *screen {
	return &screen{w: w, terminal: terminal, began: began}
}

// live shows the line of the moment: drawn over on a terminal, one a second elsewhere.
func (s *screen) live(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal {
		_, _ = fmt.Fprintf(s.w, "\r\x1b[K%s  %s", s.clock(), text)
		s.shown = true
		return
	}
	if now := time.Now(); now.Sub(s.last) >= plainLineEvery {
		s.last = now
		_, _ = fmt.Fprintf(s.w, "%s  %s\n", s.clock(), text)
	}
}

// event writes a line that stays.
func (s *screen) event(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	_, _ = fmt.Fprintf(s.w, "%s  %s\n", s.clock(), text)
}

// Write lets a logger write above the live line.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	return s.w.Write(p) //nolint:wrapcheck // an io.Writer's error is its own
}

// end leaves the live line where it is.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown {
		_, _ = fmt.Fprintln(s.w)
		s.shown = false
	}
}

func (s *screen) clear() {
	if s.shown {
		_, _ = fmt.Fprint(s.w, "\r\x1b[K")
		s.shown = false
	}
}

func (s *screen) clock() string { return fmt.Sprintf("%5.1fs", time.Since(s.began).Seconds()) }
