package app

import "time"

// AlarmAfter sets how long Kafka may refuse what is asked of it before /readyz says so. It is for tests,
// and to be called before Run.
func (w *Worker) AlarmAfter(d time.Duration) { w.alarmAfter = d }

// ReloadEvery sets how often the files of merchants are looked at. It is for tests, and to be called
// before Run.
func (w *Worker) ReloadEvery(d time.Duration) { w.reload.every = d }
