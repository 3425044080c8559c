package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const enqueueLong = `Check jobs and produce them to the jobs topic. The input is one JSON object, or one on each line (NDJSON),
from FILE or, where that is - or left out, from standard input. Blank lines are skipped.

The batch is read twice. First every job is checked, and every problem is listed with its line and its
JSON pointer; where there is one, nothing is produced, and the exit status is 1. What can be read only once
is copied to a temporary file for that (in $TMPDIR, readable by its owner, removed at the end), so a batch
need not fit into memory. An idempotent_id that comes again with another content is a problem; with the
same content it is let through with a warning. An mchid is checked where merchants are configured here.

Jobs go to the partition of their complaint_id, in the order of the lines, and to the topic of their own
merchant where it has one. Where producing fails, or is interrupted, half way, what was produced stays, and
the line to go on from is told: give it to --from-line. The exit status is 3, or 130.

With --template the input is a CSV file in UTF-8: the names of the columns in its first row, complaint_id
and complainted_mchid among them, and a reply in each row after it. The template is a job whose string
values hold {{column}} where a cell is to stand; a cell is text and nothing else. Without an idempotent_id
the template gives each job one that is made of the complaint and the message, so that the same file,
enqueued twice, is sent once, and so is the same reply in another file. To send a reply that was sent before
once more, name the occasion: "idempotent_id": "second-reminder-{{complaint_id}}". Lines are those of the
CSV. --print-jobs prints the jobs that are made.

-o json prints a line for each job produced: line, idempotent_id, complaint_id, mchid, topic, partition,
offset (with --dry-run no partition and no offset); and on stderr one for each problem: line, pointer,
problem.`

const (
	batchJobs  = 1000
	batchBytes = 4 << 20
)

type enqueueFlags struct {
	dryRun    bool
	printJobs bool
	from      int64
	template  string
}

func newEnqueueCommand(s *state) *cobra.Command {
	var flags enqueueFlags
	cmd := &cobra.Command{
		Use:     "enqueue [FILE] [flags]",
		Short:   "check jobs and produce them",
		Long:    enqueueLong,
		GroupID: groupJobs,
		Example: "  worker enqueue jobs.ndjson\n" +
			"  worker enqueue --dry-run jobs.ndjson\n" +
			"  worker enqueue --template reply.json complaints.csv\n" +
			"  worker enqueue --template reply.json --print-jobs complaints.csv > jobs.ndjson\n" +
			"  jq -c '.[]' array.json | worker enqueue -o json > produced.ndjson",
		Args: optionalArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := slices.Concat(args, []string{""})[0]
			if path == "" && s.isTerminal(s.stdin) {
				return &usageError{
					"there are no jobs: standard input is a terminal, and no FILE is given",
					"give a file (worker enqueue jobs.ndjson), pipe jobs in, or give - to type them",
				}
			}
			if flags.from < 1 {
				return usagef("--from-line must be at least 1")
			}
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			return s.enqueue(cmd.Context(), cfg, path, flags)
		},
	}
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only check, and print what would be produced")
	cmd.Flags().StringVar(&flags.template, "template", "", "`file` of the job that each row of a CSV fills in")
	cmd.Flags().BoolVar(&flags.printJobs, "print-jobs", false, "only check, and print the jobs themselves, one on each line")
	cmd.Flags().Int64Var(&flags.from, "from-line", 1, "`line` to begin with; those before it are checked and not produced")
	s.useSettings(cmd, config.GroupKafka, config.GroupTopics)
	showSettings(cmd, "merchants-file", "validation", "start-timeout")
	return cmd
}

// optionalArg lets a command have one argument.
func optionalArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return exactArgs(name)(cmd, args)
		}
		return nil
	}
}

// showSettings shows in help settings of groups that are not shown as a whole.
func showSettings(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		cmd.Flags().Lookup(name).Hidden = false
	}
}

// enqueuedJob is a line of `enqueue -o json`.
type enqueuedJob struct {
	Line         int64  `json:"line"`
	IdempotentID string `json:"idempotent_id"`
	ComplaintID  string `json:"complaint_id"`
	MchID        string `json:"mchid"`
	Topic        string `json:"topic"`
	Partition    *int   `json:"partition,omitempty"`
	Offset       *int64 `json:"offset,omitempty"`
}

func newEnqueuedJob(j *readJob) enqueuedJob {
	return enqueuedJob{
		Line: j.line, IdempotentID: j.IdempotentID, ComplaintID: j.ComplaintID, MchID: j.mchID, Topic: j.topic,
	}
}

func (s *state) enqueue(ctx context.Context, cfg *config.Config, path string, flags enqueueFlags) error {
	in, err := openJobs(ctx, s, path)
	if err != nil {
		return stopped(ctx, err)
	}
	defer in.close()
	reader := newJobReader(cfg)
	source, err := s.jobSource(in, reader, flags.template)
	if err != nil {
		return err
	}
	check := newJobCheck(reader, s, flags.from)
	if err := source.each(ctx, check.look); err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w; nothing was produced", err)
		}
		return err
	}
	if err := check.finish(source); err != nil {
		return err
	}
	switch {
	case check.pending == 0:
		_, _ = fmt.Fprintf(s.stderr, "worker: no job in %s; nothing was produced\n", clean(source.title()))
		return nil
	case flags.printJobs:
		return s.printJobs(ctx, source, check)
	case flags.dryRun:
		return s.printPlan(ctx, source, reader, check)
	}
	return s.produce(ctx, cfg, source, reader, check, flags)
}

// jobSource is the input itself, or the jobs that a template makes of it.
func (s *state) jobSource(in *jobInput, reader *jobReader, template string) (jobSource, error) {
	if template == "" {
		return in, nil
	}
	return newTemplatedJobs(s, in, reader, template)
}

func (s *state) produce(
	ctx context.Context, cfg *config.Config, in jobSource, reader *jobReader, check *jobCheck, flags enqueueFlags,
) error {
	client, err := app.Kafka(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	b := &jobBatch{s: s, cfg: cfg, client: client, in: in, reader: reader, flags: flags, total: check.pending}
	if err := b.connect(ctx, check.largest); err != nil {
		return err
	}
	return b.run(ctx)
}

// printJobs prints the jobs themselves, each on a line.
func (s *state) printJobs(ctx context.Context, in jobSource, check *jobCheck) error {
	out := bufio.NewWriter(s.stdout)
	var line bytes.Buffer
	err := in.each(ctx, func(raw rawJob) error {
		line.Reset()
		if err := json.Compact(&line, raw.value); err != nil {
			return errChanged(in)
		}
		if raw.line >= check.from {
			line.WriteByte('\n')
			_, _ = out.Write(line.Bytes()) // Flush returns what goes wrong
		}
		return nil
	})
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("write to stdout: %w", flushed)
	}
	if err == nil {
		s.saidValid(check)
	}
	return err
}

func (s *state) saidValid(check *jobCheck) {
	_, _ = fmt.Fprintf(s.stderr, "worker: %d jobs are valid; nothing was produced\n", check.pending)
}

// printPlan prints what would be produced, some rows at a time.
func (s *state) printPlan(ctx context.Context, in jobSource, reader *jobReader, check *jobCheck) error {
	var rows []enqueuedJob
	columns := []column[enqueuedJob]{
		{"line", func(j enqueuedJob) string { return strconv.FormatInt(j.Line, 10) }},
		{"idempotent_id", func(j enqueuedJob) string { return j.IdempotentID }},
		{"complaint_id", func(j enqueuedJob) string { return j.ComplaintID }},
		{"mchid", func(j enqueuedJob) string { return orDash(j.MchID) }},
		{"topic", func(j enqueuedJob) string { return j.Topic }},
	}
	err := in.each(ctx, func(raw rawJob) error {
		j, _, _ := reader.read(raw)
		if j == nil {
			return errChanged(in)
		}
		if raw.line < check.from {
			return nil
		}
		rows = append(rows, newEnqueuedJob(j))
		if len(rows) < batchJobs {
			return nil
		}
		defer func() { rows = rows[:0] }()
		return printRecords(s, rows, columns...)
	})
	if err == nil && len(rows) > 0 {
		err = printRecords(s, rows, columns...)
	}
	if err != nil {
		return err
	}
	s.saidValid(check)
	return nil
}

func errChanged(in jobSource) error {
	return fmt.Errorf("%s was changed while it was read", in.title())
}

// jobBatch is a batch on its way to Kafka.
type jobBatch struct {
	s      *state
	cfg    *config.Config
	client *kafkaio.Client
	in     jobSource
	reader *jobReader
	flags  enqueueFlags
	total  int64
	limits map[string]int // max.message.bytes of each topic

	bar      *progress
	waiting  []*readJob
	bytes    int
	produced int64
	topics   map[string]int64 // jobs produced to each
	next     int64            // the first line that failed; 0: none
	reached  int64            // the last line that was settled
}

// connect waits for the topics, and refuses jobs that they would not take.
func (b *jobBatch) connect(ctx context.Context, largest map[string]int) error {
	first, cancel := context.WithTimeout(ctx, b.cfg.StartTimeout)
	defer cancel()
	topics := slices.Sorted(maps.Keys(largest))
	if _, err := b.client.WaitForTopics(first, topics...); err != nil {
		return kafkaError(ctx, err)
	}
	b.limits = map[string]int{}
	fits := true
	for topic, size := range largest {
		b.limits[topic] = b.client.MaxMessageBytes(first, topic)
		// A key is a complaint_id: at most 64 characters.
		m := kafkaio.Message{Key: make([]byte, 4*64), Value: make([]byte, size)}
		fits = fits && m.Fits(b.limits[topic])
	}
	if fits {
		return nil
	}
	return b.refuseTooLarge(ctx)
}

// refuseTooLarge lists the jobs that their topic does not take.
func (b *jobBatch) refuseTooLarge(ctx context.Context) error {
	tooLarge := 0
	err := b.in.each(ctx, func(raw rawJob) error {
		j, _, _ := b.reader.read(raw)
		if j == nil {
			return errChanged(b.in)
		}
		m := j.message()
		if raw.line < b.flags.from || m.Fits(b.limits[j.topic]) {
			return nil
		}
		tooLarge++
		rule := fmt.Sprintf("has %d bytes, too many for topic %s, whose max.message.bytes is %d",
			len(raw.value), j.topic, b.limits[j.topic])
		if b.s.output == outputJSON {
			return encodeJSON(b.s.stderr, problemRow{Line: raw.line, Problem: rule})
		}
		_, err := fmt.Fprintf(b.s.stderr, "line %d: %s\n", raw.line, rule)
		return err //nolint:wrapcheck // stderr is gone: nobody reads it
	})
	if err != nil || tooLarge == 0 {
		return err
	}
	return withHint(fmt.Errorf("%s: %d of %d jobs too large; nothing was produced", b.in.title(), tooLarge, b.total),
		fmt.Sprintf("a topic of jobs should take %d bytes and some: raise its max.message.bytes, "+
			"and that of the dead letters to 64 KiB more", job.MaxBytes))
}

// run produces the batch. Its error says how far it came.
func (b *jobBatch) run(ctx context.Context) error {
	b.topics, b.reached = map[string]int64{}, b.flags.from-1
	b.bar = newProgress(b.s, "enqueue", b.total)
	err := b.in.each(ctx, func(raw rawJob) error {
		if raw.line < b.flags.from {
			return nil
		}
		raw.value = bytes.Clone(raw.value)
		j, _, _ := b.reader.read(raw)
		if j == nil {
			return errChanged(b.in)
		}
		b.waiting = append(b.waiting, j)
		b.bytes += len(raw.value)
		if len(b.waiting) < batchJobs && b.bytes < batchBytes {
			return nil
		}
		return b.flush(ctx)
	})
	if err == nil && len(b.waiting) > 0 {
		err = b.flush(ctx)
	}
	b.bar.finish()
	if err != nil {
		return b.failed(ctx, err)
	}
	if b.s.output == outputJSON {
		return nil
	}
	return printRecords(b.s, slices.Sorted(maps.Keys(b.topics)),
		column[string]{"topic", func(topic string) string { return topic }},
		column[string]{"jobs", func(topic string) string { return strconv.FormatInt(b.topics[topic], 10) }},
	)
}

// flush produces what waits. What is under way when ctx ends is seen through, so that it is known how
// far the batch has come.
func (b *jobBatch) flush(ctx context.Context) error {
	waiting := b.waiting
	b.waiting, b.bytes = nil, 0
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	publish, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StartTimeout)
	defer cancel()
	byTopic := map[string][]*readJob{}
	for _, j := range waiting {
		byTopic[j.topic] = append(byTopic[j.topic], j)
	}
	placed := map[int64]kafkaio.Placed{} // by line
	for topic, jobs := range byTopic {
		messages := make([]kafkaio.Message, len(jobs))
		for i, j := range jobs {
			messages[i] = j.message()
		}
		for i, p := range b.client.PublishBatch(publish, topic, b.limits[topic], messages) {
			placed[jobs[i].line] = p
		}
	}
	return b.settle(waiting, placed)
}

// settle counts and prints what was produced, in the order of the lines. It returns the first failure.
func (b *jobBatch) settle(jobs []*readJob, placed map[int64]kafkaio.Placed) error {
	var failure, unprinted error
	done := 0
	for _, j := range jobs {
		b.reached = j.line
		p := placed[j.line]
		if p.Err != nil {
			if failure == nil {
				failure, b.next = p.Err, j.line
			}
			continue
		}
		done++
		b.topics[j.topic]++
		if b.s.output == outputJSON && unprinted == nil {
			row := newEnqueuedJob(j)
			row.Partition, row.Offset = &p.Partition, &p.Offset
			unprinted = printJSON(b.s, row)
		}
	}
	b.produced += int64(done)
	b.bar.add(done)
	if failure == nil {
		failure = unprinted
	}
	return failure
}

// failed says how far the batch has come.
func (b *jobBatch) failed(ctx context.Context, err error) error {
	if b.next == 0 {
		b.next = b.reached + 1
	}
	goOn := fmt.Sprintf("go on with --from-line %d; a job that is produced twice is sent once", b.next)
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		_, _ = fmt.Fprintf(b.s.stderr, "worker: %d of %d jobs were produced\n", b.produced, b.total)
		return withHint(err, goOn)
	case b.produced == 0:
		return withHint(fmt.Errorf("no job is known to be produced: %w", err), kafkaHint)
	case b.produced == b.total:
		return withHint(err, "every job was produced all the same")
	}
	part := &partialError{int(b.total - b.produced), int(b.total), "jobs"}
	return withHint(fmt.Errorf("%w: %w", part, err), goOn)
}

const kafkaHint = "check kafka-brokers (`worker config print --origin` shows where it comes from), " +
	"and that Kafka can be reached from here"

// kafkaError adds what to do to the error of a first contact with Kafka.
func kafkaError(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		return context.Cause(ctx)
	}
	if _, missing := errors.AsType[*kafkaio.MissingTopicsError](err); missing {
		return err
	}
	return withHint(err, kafkaHint)
}
