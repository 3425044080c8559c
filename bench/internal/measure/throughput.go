//go:build linux

package measure

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"replyworker/bench/internal/result"
)

// throughput measures jobs a second from one partition. The ideal is concurrency over latency; where signing
// takes all cores before that, what a bare client reaches with as many calls at once says how far one could
// come on this machine.
func throughput(ctx context.Context, m *session) error {
	const latency = 100 * time.Millisecond
	for range m.Runs {
		for _, concurrency := range pick(m, []int{40}, []int{40, 256, 1000}) {
			ideal := float64(concurrency) / latency.Seconds()
			at := strconv.Itoa(concurrency) + " at once"
			worker, err := workerCPU(ctx, m, load(ideal, m), concurrency, latency)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			bare, err := bareCPU(ctx, m, load(ideal, m), concurrency, latency)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			m.others(worker)
			var aim *result.Aim
			if concurrency == 40 {
				aim = &result.Aim{AtLeast: 97}
			}
			m.curve("of the bare client's", "%", at, aim, map[string]float64{nameWorker: 100 * worker.rate() / bare.rate()})
			m.curve("of the ideal", "%", at, absolute(m, aim), map[string]float64{
				nameWorker: 100 * worker.rate() / ideal, nameBare: 100 * bare.rate() / ideal,
			})
			m.curve("jobs a second", "", at, nil, map[string]float64{
				nameWorker: worker.rate(), nameBare: bare.rate(), "ideal": ideal,
			})
			m.curve("CPU of the machine", "%", at, nil, map[string]float64{
				nameWorker + " alone": 100 * worker.share(worker.cpu[nameWorker], cores()), "everything": 100 * worker.share(worker.machine, cores()),
				nameBare + " alone": 100 * bare.share(bare.cpu[nameBare], cores()),
			})
		}
	}
	return nil
}

// load is the jobs of a run: some seconds' worth of the ideal, as far as a machine of a few cores signs them.
func load(ideal float64, m *session) int {
	const most, seconds = 1_500, 10
	count := int(min(ideal, most) * seconds)
	if m.Quick {
		count /= 2
	}
	return count
}

// curve keeps a value for each series at a point.
func (m *session) curve(name, unit, at string, aim *result.Aim, values map[string]float64) {
	for _, series := range sorted(values) {
		f := result.Figure{Name: name, Unit: unit, Series: series, At: at}
		if series == nameWorker {
			f.Aim = aim
		}
		m.set(f, values[series])
	}
}
