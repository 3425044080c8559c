package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const dlqLong = `Dead letters are jobs that will not be sent again by themselves. A letter is open until it is replayed or
discarded; who did that, when and why stands in a topic of its own (topic-resolutions). One that a replay
began to send, and did not finish with, is "replaying" and counts as open.

A letter is named by its PARTITION/OFFSET in the topic of dead letters. Letters that Spring, Kafka Connect,
Kafka Streams or other followers of KIP-1191 have written are read too, as far as their headers go.`

func newDLQCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use: "dlq", Short: "dead letters: look at them, send them again, or put them away", Long: dlqLong, GroupID: groupLetters,
	})
	cmd.AddCommand(
		newDLQListCommand(s), newDLQShowCommand(s), newDLQStatsCommand(s), newDLQReplayCommand(s),
		newDLQDiscardCommand(s), newDLQExportCommand(s),
	)
	return cmd
}

// letterFilter is the flags that say which letters are meant.
type letterFilter struct {
	timeRange

	reasons, codes, complaints, ids, merchants, replays, statuses []string
}

// addTo defines the flags. statuses are those that --status takes, and byDefault the one that is meant
// where it is not given; none of them means every one.
func (f *letterFilter) addTo(s *state, cmd *cobra.Command, byDefault string, statuses ...deadletter.Status) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.reasons, "reason", nil, "only of this `reason`: invalid_job, idempotency_conflict, rejected, "+
		"exhausted, internal")
	flags.StringSliceVar(&f.codes, "error-code", nil, "only with this error `code` of the API")
	flags.StringSliceVar(&f.complaints, "complaint", nil, "only of this complaint `id`")
	flags.StringSliceVar(&f.ids, "idempotent-id", nil, "only of this idempotent `id`")
	flags.StringSliceVar(&f.merchants, "merchant", nil, "only of jobs that name this `mchid`")
	flags.StringSliceVar(&f.replays, "replay-id", nil, "only of jobs that this replay sent, by its `id`")
	f.timeRange.add(cmd, "only failed")
	refuseEmpty(cmd, "since", "until", "reason", "error-code", "complaint", "idempotent-id", "merchant", "replay-id", "status")
	names := append(texts(statuses), statusAll)
	var chosen []string
	if byDefault != "" {
		chosen = []string{byDefault}
	}
	flags.StringSliceVar(&f.statuses, "status", chosen, "only of this `status`: "+joinOr(names))
	for flag, values := range map[string][]string{
		"reason": texts(job.Reasons()), "status": names,
		"error-code": nil, "complaint": nil, "idempotent-id": nil, "replay-id": nil,
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("merchant", s.completeMerchants)
}

// statusAll is the --status that means every one.
const statusAll = "all"

func joinOr(values []string) string {
	last := len(values) - 1
	if last < 1 {
		return values[0]
	}
	var text strings.Builder
	text.WriteString(values[0])
	for _, v := range values[1:last] {
		text.WriteString(", " + v)
	}
	return text.String() + " or " + values[last]
}

// read returns the filter that the flags make. statuses are those that the command takes.
func (f *letterFilter) read(now time.Time, statuses ...deadletter.Status) (deadletter.Filter, error) {
	filter := deadletter.Filter{
		ErrorCodes: f.codes, Complaints: f.complaints, Idempotent: f.ids, Merchants: f.merchants, Replays: f.replays,
	}
	for _, reason := range f.reasons {
		if !slices.Contains(job.Reasons(), job.Reason(reason)) {
			return filter, unknownArg("reason", reason, texts(job.Reasons()))
		}
		filter.Reasons = append(filter.Reasons, job.Reason(reason))
	}
	for _, status := range f.statuses {
		if status == statusAll {
			filter.Statuses = nil
			break
		}
		if !slices.Contains(statuses, deadletter.Status(status)) {
			return filter, unknownArg("status", status, append(texts(statuses), statusAll))
		}
		filter.Statuses = append(filter.Statuses, deadletter.Status(status))
	}
	var err error
	filter.Since, filter.Until, err = f.timeRange.read(now)
	return filter, err
}

// letterDesk is one call of a dlq command: its connections, and what it has read.
type letterDesk struct {
	s     *state
	cfg   *config.Config
	kafka *kafkaio.Client
	store *dedupe.Store // nil for commands that need no Redis
	index *deadletter.Index
}

// openDesk connects to Kafka, and to Redis where a command needs it. The caller closes it.
func (s *state) openDesk(cmd *cobra.Command, withRedis bool) (*letterDesk, error) {
	cfg, err := s.load(cmd)
	if err != nil {
		return nil, err
	}
	d := &letterDesk{s: s, cfg: cfg}
	if d.kafka, err = app.Kafka(cfg); err != nil {
		return nil, err
	}
	if withRedis {
		if d.store, err = app.Redis(cfg); err != nil {
			d.kafka.Close()
			return nil, err
		}
	}
	return d, nil
}

func (d *letterDesk) close() {
	d.kafka.Close()
	if d.store != nil {
		_ = d.store.Close() // nothing is lost by it
	}
}

// loadIndex reads the letters that failed since a time, and the resolutions.
func (d *letterDesk) loadIndex(ctx context.Context, since time.Time) error {
	bar := &loadBar{s: d.s, label: "dead letters"}
	defer bar.finish()
	x, err := deadletter.Load(ctx, deadletter.LoadConfig{
		Kafka: d.kafka, Letters: d.cfg.TopicDeadLetters, Resolutions: d.cfg.TopicResolutions,
		Validation: job.Validation(d.cfg.Validation), Since: since, Patience: d.cfg.StartTimeout,
		Start: bar.start, Progress: bar.add,
	})
	if errors.Is(err, deadletter.ErrTooMany) {
		return withHint(err, "look at part of them with --since")
	}
	if err != nil {
		return kafkaError(ctx, err)
	}
	if x.Unreadable > 0 {
		_, _ = fmt.Fprintf(d.s.stderr, "worker: warning: %d records of %s are no resolutions; they are passed over\n",
			x.Unreadable, d.cfg.TopicResolutions)
	}
	d.index = x
	return nil
}

// find returns the letters of IDs, each once. One that is not there is an error that names it.
func (d *letterDesk) find(ids []deadletter.ID) ([]*deadletter.Letter, error) {
	var found []*deadletter.Letter
	for _, id := range ids {
		l, there := d.index.Find(id)
		if !there {
			return nil, withHint(fmt.Errorf("there is no dead letter %s in %s", id, d.cfg.TopicDeadLetters),
				"`worker dlq list --status all` lists those that there are; Kafka removes them after the topic's retention")
		}
		if !slices.Contains(found, l) {
			found = append(found, l)
		}
	}
	return found, nil
}

// loadBar shows a bar while something is read, on a terminal only: what is read is asked for again
// and again, and lines about it would be noise elsewhere.
type loadBar struct {
	s     *state
	label string
	bar   *progress
}

func (b *loadBar) start(total int64) {
	if b.s.isTerminal(b.s.stderr) {
		b.bar = newProgress(b.s, b.label, total)
	}
}

func (b *loadBar) add(passed int64) {
	if b.bar != nil {
		b.bar.add(int(passed))
	}
}

func (b *loadBar) finish() {
	if b.bar != nil {
		b.bar.finish()
		b.bar = nil
	}
}

func parseIDs(args []string) ([]deadletter.ID, error) {
	var ids []deadletter.ID
	for _, arg := range args {
		id, err := deadletter.ParseID(arg)
		if err != nil {
			return nil, &usageError{err.Error(), "`worker dlq list` shows them in its first column"}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// completeLetters offers nothing: to read the letters takes longer than a completion may.
func completeLetters(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}
