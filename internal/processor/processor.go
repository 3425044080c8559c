package processor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/retry"
	"replyworker/internal/schedule"
	"replyworker/internal/wxclient"
)

// Claims is what the processor asks of the claim store for jobs; its methods are dedupe.Store's.
type Claims interface {
	Claim(ctx context.Context, c dedupe.Claimant, spend int) (dedupe.Claim, error)
	Begin(ctx context.Context, c dedupe.Claimant, attempts int) (int, error)
	Renew(ctx context.Context, held []dedupe.Claimant) []error
	Park(ctx context.Context, c dedupe.Claimant, p dedupe.Parked) error
	Complete(ctx context.Context, c dedupe.Claimant, d dedupe.Done) (dedupe.CompleteResult, error)
	Fail(ctx context.Context, c dedupe.Claimant, f dedupe.Failure) error
	NotePublished(key dedupe.Key, source string)
	Finished(ctx context.Context, deliveries []dedupe.Delivered) ([]dedupe.State, error)
}

// API makes one call.
type API interface {
	Reply(ctx context.Context, host wxclient.Host, m *wxclient.Merchant, complaintID string, body []byte) (
		wxclient.Answer, error)
}

// Outcomes publishes how jobs ended.
type Outcomes interface {
	Publish(ctx context.Context, d *job.Delivery, j *job.Job, r job.Result) error
}

// Letters publishes the dead letters of jobs that failed.
type Letters interface {
	Publish(ctx context.Context, d *job.Delivery, r job.Result) error
}

// Config sets a Processor up.
type Config struct {
	// Merchants are those that can sign, by id, until SetMerchants; DefaultMchID signs where a job names
	// none.
	Merchants    map[string]*wxclient.Merchant
	DefaultMchID string
	Validation   job.Validation
	Retry        retry.Policy
	// Brake is how many jobs of a merchant in a row, over different complaints, may be refused with
	// one code before the merchant is held; 0 is never.
	Brake int
	// Lease is the claims' lease; claims are renewed each third of it while a call is out.
	Lease time.Duration

	Claims     Claims
	Holds      Holds
	API        API
	Gate       *gate.Gate
	Outcomes   Outcomes
	Letters    Letters
	Log        zerolog.Logger
	Registerer prometheus.Registerer
}

// Processor works on deliveries; an Intake makes tasks of them. It is safe for concurrent use.
type Processor struct {
	cfg     Config
	gate    *gate.Gate
	claims  Claims
	warn    *folder
	odd     *oddities
	brake   *brake
	renewer *renewer
	holds   *keeper
	roster  atomic.Pointer[roster]
	probes  sync.WaitGroup // of hosts; their jobs may have gone on
	log     zerolog.Logger
	metrics *metrics
}

// New makes a Processor. Run must be running while its tasks are.
func New(cfg Config) *Processor {
	p := &Processor{
		cfg: cfg, gate: cfg.Gate, claims: cfg.Claims, brake: newBrake(cfg.Brake), log: cfg.Log, warn: newFolder(),
		odd: newOddities(), metrics: newMetrics(cfg.Registerer, cfg.Gate),
	}
	p.renewer = newRenewer(cfg.Claims, cfg.Lease, cfg.Log)
	p.SetMerchants(cfg.Merchants, cfg.DefaultMchID)
	p.holds = newKeeper(cfg.Holds, cfg.Gate, func() []string { return p.roster.Load().ids() }, cfg.Log, p.metrics)
	p.holds.ended = p.brake.reset
	return p
}

// Run keeps claims and holds alive until ctx ends. It returns when no call is out any more: the sessions
// of its tasks must have been drained by then.
func (p *Processor) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.renewer.run(ctx)
	}()
	p.holds.run(ctx)
	<-done
	p.probes.Wait()
}

// newWork reads a delivery.
func (p *Processor) newWork(h Handed, in *Intake) *work {
	w := &work{p: p, in: in, d: h.Delivery}
	w.decode()
	return w
}

// task makes the task of a work. finished is called when the record needs no further delivery.
func (w *work) task(finished func()) *schedule.Task {
	t := &schedule.Task{Step: w.step, Finished: finished}
	if w.failed != nil {
		t.Ungated = true
		return t
	}
	t.MchID, t.Lane, t.ExpiresAt = w.job.MchID, lane(&w.d, w.job), w.job.ExpiresAt
	return t
}

// key is the job's key in the claim store.
func (w *work) key() dedupe.Key {
	return dedupe.Key{MchID: w.job.MchID, IdempotentID: w.job.IdempotentID}
}

// work is one delivery on its way.
type work struct {
	p      *Processor
	in     *Intake
	d      job.Delivery
	job    *job.Job    // of an invalid job what could be read
	failed *job.Result // the end of a job that is not even claimed

	*progress // nil before the first step: of ten thousand jobs most wait for it
}

// progress is what a work's steps know of those before them.
type progress struct {
	started  time.Time
	token    string     // of a claim that is, or may be, held
	owed     *owed      // what the claim has not been told; nil where it has been
	tries    int        // calls made in this process
	asked    int        // times that another delivery had the claim
	oddities int        // times in a row that the claim could not be used
	before   successes  // when the attempt before the last one began
	begun    successes  // when the last one began
	left     *leftProbe // that is or was out beside the job; nil where there was none
	answer   job.Answer // the last one
	detail   string     // the last error, for the dead letter
}

// successes counts calls that succeeded, of everybody and of a merchant.
type successes struct{ all, own uint64 }
