package processor

import (
	"sync"
	"time"
)

// foldFor is how long a repeated warning is left out.
const foldFor = 10 * time.Second

// folder says a warning once in a while, however often it is given.
type folder struct {
	mu   sync.Mutex
	last map[string]time.Time // by kind of warning; the kinds are few and fixed
}

func newFolder() *folder { return &folder{last: map[string]time.Time{}} }

func (f *folder) say(kind string, log func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.last[kind]) >= foldFor {
		f.last[kind] = now
		log()
	}
}
