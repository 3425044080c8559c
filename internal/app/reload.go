package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"replyworker/internal/config"
)

const (
	// reloadEvery is how often the files of merchants are looked at.
	reloadEvery = 3 * time.Second
	// topicsTimeout bounds the question whether a new merchant's topic is there.
	topicsTimeout = 5 * time.Second
	// maxLogged bounds the lines that one reload writes of single merchants, and of faults.
	maxLogged = 20
	// expiryNotice is how long before a platform certificate ends it is warned of.
	expiryNotice = 30 * 24 * time.Hour
)

// The results of a reload.
const (
	reloadTaken   = "taken"
	reloadRefused = "refused"
)

// reloader reads merchants and their keys again when their files change, or when asked to. What it reads
// is taken as a whole or not at all. A change is read when two looks have found the same: what is being
// written is not.
type reloader struct {
	w     *Worker
	log   zerolog.Logger
	every time.Duration
	asked chan struct{}

	// Of run alone.
	cfg   *config.Config // in use
	files files
	inUse [sha256.Size]byte // the files whose content is known to be in use
	last  [sha256.Size]byte // the files as they were at the last look
	wrong string            // why what the files have is not taken; empty where it is

	results *prometheus.CounterVec
	refused prometheus.Gauge
	loaded  prometheus.Gauge
}

func newReloader(w *Worker) *reloader {
	f := promauto.With(w.registry)
	r := &reloader{
		w: w, cfg: w.cfg, every: reloadEvery, asked: make(chan struct{}, 1),
		log: w.log.With().Str("component", "reload").Logger(),
		results: f.NewCounterVec(prometheus.CounterOpts{
			Name: "replyworker_reloads_total", Help: "Changes of merchants and keys that were found in the files, by what became of them.",
		}, []string{"result"}),
		refused: f.NewGauge(prometheus.GaugeOpts{
			Name: "replyworker_reload_refused",
			Help: "1 while the files of merchants and keys have a fault and what was loaded before is in use.",
		}),
		loaded: f.NewGauge(prometheus.GaugeOpts{
			Name: "replyworker_merchants_loaded_timestamp_seconds", Help: "When the merchants and keys that are in use were loaded.",
		}),
	}
	r.results.WithLabelValues(reloadTaken)
	r.results.WithLabelValues(reloadRefused)
	r.loaded.SetToCurrentTime()
	return r
}

// ask makes it read the files now.
func (r *reloader) ask() {
	select {
	case r.asked <- struct{}{}:
	default: // it will
	}
}

// run looks at the files until ctx ends.
func (r *reloader) run(ctx context.Context) {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
			r.look(ctx, true)
		case <-tick.C:
			r.look(ctx, false)
		}
	}
}

// look reads the files where they have changed and are still, where what they had was refused, or where
// it was asked to.
func (r *reloader) look(ctx context.Context, asked bool) {
	now := r.files.print(r.cfg.MerchantFiles())
	still := now == r.last
	r.last = now
	if !asked && (now == r.inUse || !still || irregular(r.cfg.MerchantFiles()) != "") {
		return
	}
	next, all, err := r.read()
	if r.files.print(r.cfg.MerchantFiles()) != now {
		r.last = [sha256.Size]byte{} // they have changed meanwhile: the next looks see what they have come to
		return
	}
	changed := false
	if err == nil {
		changed, err = r.take(ctx, next, all)
	}
	switch {
	case ctx.Err() != nil: // the worker stops
	case err != nil:
		r.refuse(err, asked)
	case changed:
		r.accept()
	default:
		r.same(now, asked)
	}
}

// read reads everything, and changes nothing.
func (r *reloader) read() (*config.Config, merchants, error) {
	if path := irregular(r.cfg.MerchantFiles()); path != "" {
		return nil, nil, fmt.Errorf("%s is no file that can be read again: put its content into one, and restart", path)
	}
	next, pending, err := r.cfg.Reload()
	if err != nil {
		return nil, nil, err
	}
	all, err := readMerchants(next)
	if err != nil {
		return nil, nil, err
	}
	if len(pending) > 0 {
		r.log.Warn().Strs("settings", pending).Msg("other settings have changed in the file: restart to take them")
	}
	return next, all, nil
}

// take makes what was read the merchants in use.
func (r *reloader) take(ctx context.Context, next *config.Config, all merchants) (changed bool, err error) {
	d := compare(*r.w.merchants.Load(), all)
	before, topics := r.cfg.JobsTopics(), next.JobsTopics()
	was, _ := r.cfg.DefaultMerchant()
	def, _ := next.DefaultMerchant()
	other := !sameTopics(before, topics)
	if d.none() && !other && was.MchID == def.MchID {
		r.cfg = next
		return false, nil
	}
	if err := r.topicsThere(ctx, before, topics); err != nil {
		return false, err
	}
	swap := func() { r.w.swap(all, def.MchID, d) }
	if other {
		if err := r.w.consumer.Rejoin(ctx, topics, swap); err != nil {
			return false, fmt.Errorf("read other topics: %w", err)
		}
	} else {
		swap()
	}
	r.cfg = next
	r.w.processor.NewKeys(ctx, d.changed)
	r.w.tell(r.log, all, append(slices.Clone(d.added), d.changed...))
	for _, id := range d.removed[:min(len(d.removed), maxLogged)] {
		r.log.Warn().Str("mchid", id).
			Msg("merchant is not configured any more: its jobs on topics that are read become dead letters")
	}
	r.log.Info().Int("merchants", len(all)).Int("added", len(d.added)).Int("changed", len(d.changed)).
		Int("removed", len(d.removed)).Strs("topics", topics).Msg("merchants and keys were read again and are in use")
	return true, nil
}

// topicsThere refuses a new merchant whose topic nobody has made.
func (r *reloader) topicsThere(ctx context.Context, before, topics []string) error {
	added := slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return slices.Contains(before, t) })
	if len(added) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, topicsTimeout)
	defer cancel()
	return r.w.waitForTopics(ctx, added)
}

// accept takes note of a change that was taken. Whether the files that it names have changed since they
// were read the next looks find out.
func (r *reloader) accept() {
	r.results.WithLabelValues(reloadTaken).Inc()
	r.loaded.SetToCurrentTime()
	r.refused.Set(0)
	r.wrong, r.inUse = "", [sha256.Size]byte{}
}

// same takes note that the files have what is in use.
func (r *reloader) same(now [sha256.Size]byte, asked bool) {
	if r.wrong != "" || asked {
		r.log.Info().Msg("merchants and keys were read again: their files have what is in use")
	}
	r.refused.Set(0)
	r.wrong, r.inUse = "", now
}

// refuse keeps what is in use. What is refused is read again at every look, and told once.
func (r *reloader) refuse(err error, asked bool) {
	r.refused.Set(1)
	r.inUse = [sha256.Size]byte{}
	if r.wrong == err.Error() && !asked {
		return
	}
	r.wrong = err.Error()
	r.results.WithLabelValues(reloadRefused).Inc()
	faults := lines(err)
	if more := len(faults) - maxLogged; more > 0 {
		faults = append(faults[:maxLogged], fmt.Sprintf("and %d more", more))
	}
	r.log.Error().Strs("faults", faults).
		Msg("merchants and keys in the files are refused, and those from before stay in use: mend the files")
}

// lines is an error's parts, each on one line.
func lines(err error) []string {
	if all, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		var out []string
		for _, part := range all.Unwrap() {
			out = append(out, lines(part)...)
		}
		return out
	}
	return []string{strings.Join(strings.Fields(err.Error()), " ")}
}

// difference is what has become of merchants, each list sorted.
type difference struct{ added, changed, removed []string }

func (d difference) none() bool { return len(d.added)+len(d.changed)+len(d.removed) == 0 }

// compare finds the difference. Merchants that are the same are those of before, also in now: that of a
// call and the present one can be compared.
func compare(before, now merchants) difference {
	var d difference
	for _, id := range now.ids() {
		old, was := before[id]
		switch {
		case !was:
			d.added = append(d.added, id)
		case old.sum != now[id].sum:
			d.changed = append(d.changed, id)
		default:
			now[id] = old
		}
	}
	for _, id := range before.ids() {
		if _, is := now[id]; !is {
			d.removed = append(d.removed, id)
		}
	}
	return d
}

func sameTopics(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
