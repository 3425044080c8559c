package cli

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"replyworker/internal/config"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	// maxRemembered bounds the memory in which repeats of an idempotent_id are looked for: about
	// 150 MB. A worker finds those among the jobs beyond it.
	maxRemembered = 2_000_000
	// maxRepeatWarnings is how many repeats are told one by one.
	maxRepeatWarnings = 20
)

// readJob is a job of the input, and where it goes.
type readJob struct {
	line  int64
	value []byte
	topic string
	mchID string // that signs; empty where the job names none and none is configured
	*job.Job
}

func (j *readJob) message() kafkaio.Message {
	return kafkaio.Message{Partition: kafkaio.AnyPartition, Key: []byte(j.ComplaintID), Value: j.value}
}

// jobReader decodes jobs and finds their topics.
type jobReader struct {
	cfg        *config.Config
	validation job.Validation
}

func newJobReader(cfg *config.Config) *jobReader {
	return &jobReader{cfg: cfg, validation: job.Validation(cfg.Validation)}
}

// read returns the job, or what is wrong with it, and how many problems more there are.
func (r *jobReader) read(raw rawJob) (j *readJob, problems []job.Problem, omitted int) {
	if raw.value == nil {
		return nil, []job.Problem{{Rule: raw.fault}}, 0
	}
	decoded, err := job.Decode(raw.value, r.validation)
	if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
		return nil, invalid.Problems, invalid.Omitted
	}
	if err != nil {
		return nil, []job.Problem{{Rule: err.Error()}}, 0
	}
	j = &readJob{line: raw.line, value: raw.value, topic: r.cfg.TopicJobs, mchID: decoded.MchID, Job: decoded}
	if len(r.cfg.Merchants) == 0 {
		return j, nil, 0 // the workers know their merchants; this machine does not
	}
	if j.mchID == "" {
		byDefault, _ := r.cfg.DefaultMerchant()
		j.mchID = byDefault.MchID
	}
	merchant, found := r.cfg.Merchant(j.mchID)
	switch {
	case j.mchID == "":
		rule := "is missing; must be there, since no merchant is configured as the default"
		return nil, []job.Problem{{Pointer: "/mchid", Rule: rule}}, 0
	case !found:
		rule := fmt.Sprintf("is %q, which is not a configured merchant", j.mchID)
		return nil, []job.Problem{{Pointer: "/mchid", Rule: rule}}, 0
	case merchant.TopicJobs != "":
		j.topic = merchant.TopicJobs
	}
	return j, nil, 0
}

// jobCheck looks at a whole batch and lists on w what is wrong with it. It keeps some bytes of each
// job, not the jobs.
type jobCheck struct {
	reader *jobReader
	w      io.Writer
	asJSON bool
	from   int64 // the first line to be produced

	seen     map[[16]byte]seenJob
	jobs     int64 // valid or not
	pending  int64 // of them, those to be produced
	invalid  int64
	problems int64
	repeats  int64
	notAJob  bool           // a line was no JSON object
	largest  map[string]int // of each topic, the size of its largest value
}

// seenJob is what is remembered of an idempotent_id.
type seenJob struct {
	content [16]byte
	line    int64
}

func newJobCheck(reader *jobReader, s *state, from int64) *jobCheck {
	return &jobCheck{
		reader: reader, w: s.stderr, asJSON: s.output == outputJSON, from: from,
		seen: map[[16]byte]seenJob{}, largest: map[string]int{},
	}
}

func (c *jobCheck) look(raw rawJob) error {
	c.jobs++
	if raw.line >= c.from {
		c.pending++
	}
	j, problems, omitted := c.reader.read(raw)
	if j != nil {
		c.largest[j.topic] = max(c.largest[j.topic], len(raw.value))
		if p := c.repeat(j); p != nil {
			problems = []job.Problem{*p}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	c.invalid++
	c.problems += int64(len(problems) + omitted)
	c.notAJob = c.notAJob || raw.value != nil && (raw.value[0] != '{' || !json.Valid(raw.value))
	return c.tell(raw, problems, omitted)
}

// problemRow is a line of stderr with -o json.
type problemRow struct {
	Line    int64  `json:"line"`
	Pointer string `json:"pointer"` // empty: the whole value, or the row of a CSV
	Problem string `json:"problem"`
}

// tell lists problems of a job.
func (c *jobCheck) tell(raw rawJob, problems []job.Problem, omitted int) error {
	var b strings.Builder
	for _, p := range problems {
		switch {
		case c.asJSON:
			_ = encodeJSON(&b, problemRow{raw.line, p.Pointer, p.Rule}) // it writes to memory
		case raw.what != "":
			fmt.Fprintf(&b, "line %d: %s %s\n", raw.line, raw.what, clean(p.Rule))
		default:
			fmt.Fprintf(&b, "line %d: %s\n", raw.line, p)
		}
	}
	switch {
	case omitted > 0 && c.asJSON:
		_ = encodeJSON(&b, problemRow{raw.line, "", fmt.Sprintf("and %d more problems", omitted)})
	case omitted > 0:
		fmt.Fprintf(&b, "line %d: and %d more problems\n", raw.line, omitted)
	}
	if _, err := io.WriteString(c.w, b.String()); err != nil {
		return fmt.Errorf("write to stderr: %w", err)
	}
	return nil
}

// repeat says what is wrong where the job's idempotent_id came before. The same id is another job for
// another merchant.
func (c *jobCheck) repeat(j *readJob) *job.Problem {
	var id, content [16]byte
	sum := sha256.Sum256([]byte(j.mchID + ":" + j.IdempotentID))
	copy(id[:], sum[:])
	copy(content[:], j.Content[:])
	first, found := c.seen[id]
	switch {
	case !found:
		if len(c.seen) < maxRemembered {
			c.seen[id] = seenJob{content, j.line}
		}
		return nil
	case first.content != content:
		return &job.Problem{
			Pointer: "/idempotent_id",
			Rule:    fmt.Sprintf("is that of line %d, which says something else; one id must be one reply", first.line),
		}
	}
	c.repeats++
	if c.repeats <= maxRepeatWarnings {
		_, _ = fmt.Fprintf(c.w, "worker: warning: line %d repeats line %d; the worker sends it once, and the other is a duplicate\n",
			j.line, first.line)
	}
	return nil
}

// finish returns nil where every job of a source is well.
func (c *jobCheck) finish(in jobSource) error {
	if c.repeats > maxRepeatWarnings {
		_, _ = fmt.Fprintf(c.w, "worker: warning: %d lines repeat others in all\n", c.repeats)
	}
	if len(c.seen) == maxRemembered {
		_, _ = fmt.Fprintf(c.w, "worker: warning: repeats were looked for among the first %d jobs only\n", maxRemembered)
	}
	if c.invalid == 0 {
		return nil
	}
	err := fmt.Errorf("%s: %d of %d jobs invalid, %d problems; nothing was produced", in.title(), c.invalid, c.jobs, c.problems)
	_, templated := in.(*templatedJobs)
	switch {
	case templated:
		return withHint(err, "a line is one of the CSV, a pointer points into the job: the template says which column stands there")
	case c.notAJob && strings.HasSuffix(strings.ToLower(in.title()), ".csv"):
		return withHint(err, "--template FILE makes jobs of a CSV; see `worker enqueue --help`")
	case c.notAJob:
		return withHint(err, "a job is one JSON object on one line; `jq -c .` makes lines of objects, `jq -c '.[]'` of an array")
	}
	return withHint(err, "`worker schema job` prints the rules")
}
