package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/kafkaio"
	"replyworker/internal/topics"
)

const topicsCreateLong = `Make the topics that do not exist: of the jobs (also the merchants' own ones), the outcomes, the dead
letters and the resolutions. Topics that exist are left as they are, with a warning where one is set so that
something would go wrong. It may be called again at any time.

Jobs and dead letters are kept shorter than claim-retention remembers what was sent: a record that is read
after its claim is forgotten would be sent again. Kafka keeps a record up to 12 hours longer than the
retention says. The dead letters take messages of 64 KiB more than the jobs do, for their headers. The
resolutions are compacted and kept as long as they count. All else, such as min.insync.replicas, is the
broker's default; for production give --replication-factor 3.

-o json prints a line for each topic: topic, state ("made", "exists" or, with --dry-run, "missing"),
partitions, config, warnings.`

type topicsFlags struct {
	partitions, replicas    int
	jobs, letters, outcomes time.Duration // how long each is kept
	dryRun                  bool
}

func newTopicsCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use:     "topics",
		Short:   "the topics that replyworker uses",
		GroupID: groupSetup,
	})
	cmd.AddCommand(newTopicsCreateCommand(s))
	return cmd
}

func newTopicsCreateCommand(s *state) *cobra.Command {
	var f topicsFlags
	cmd := &cobra.Command{
		Use:   "create [flags]",
		Short: "make the topics that do not exist",
		Long:  topicsCreateLong,
		Example: "  worker topics create\n" +
			"  worker topics create --partitions 24 --replication-factor 3\n" +
			"  worker topics create --dry-run -o json",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			if err := f.check(cfg); err != nil {
				return err
			}
			return s.createTopics(cmd.Context(), cfg, f)
		},
	}
	cmd.Flags().IntVar(&f.partitions, "partitions", 12, "`number` of partitions of each topic")
	cmd.Flags().IntVar(&f.replicas, "replication-factor", -1, "`copies` of each partition; -1 for the broker's default")
	cmd.Flags().DurationVar(&f.jobs, "retention-jobs", 7*24*time.Hour, "how long jobs are kept; shorter than claim-retention")
	cmd.Flags().DurationVar(&f.letters, "retention-dead-letters", 13*24*time.Hour,
		"how long dead letters are kept; shorter than claim-retention")
	cmd.Flags().DurationVar(&f.outcomes, "retention-outcomes", 30*24*time.Hour, "how long outcomes are kept")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would be made")
	s.useSettings(cmd, config.GroupKafka, config.GroupTopics)
	showSettings(cmd, "merchants-file", "claim-retention", "start-timeout")
	return cmd
}

// check refuses what Kafka would, and retentions that outlive the claims.
func (f *topicsFlags) check(cfg *config.Config) error {
	if f.partitions < 1 {
		return usagef("--partitions %d: must be at least 1", f.partitions)
	}
	if f.replicas < 1 && f.replicas != -1 {
		return usagef("--replication-factor %d: must be at least 1, or -1 for the broker's default", f.replicas)
	}
	if f.outcomes < time.Minute {
		return usagef("--retention-outcomes %s: must be at least 1m", f.outcomes)
	}
	for _, r := range []struct {
		flag   string
		length time.Duration
	}{{"--retention-jobs", f.jobs}, {"--retention-dead-letters", f.letters}} {
		if r.length < time.Minute {
			return usagef("%s %s: must be at least 1m", r.flag, r.length)
		}
		if kept := topics.Kept(r.length); kept >= cfg.ClaimRetention {
			return &usageError{
				fmt.Sprintf("%s %s: records would be kept up to %s, and claim-retention is %s; "+
					"one read after its claim is forgotten would be sent again", r.flag, r.length, kept, cfg.ClaimRetention),
				"give a shorter " + r.flag + ", or a longer claim-retention here and to the workers",
			}
		}
	}
	return nil
}

// wantedTopic is a topic as it should be.
type wantedTopic struct {
	kafkaio.Topic

	findings func(settings map[string]string) []topics.Finding // of one that exists
}

// topicRow is a line of `topics create -o json`.
type topicRow struct {
	Topic      string            `json:"topic"`
	State      string            `json:"state"`
	Partitions int               `json:"partitions"`
	Config     map[string]string `json:"config"`
	Warnings   []string          `json:"warnings"`
}

// topicMaker makes the topics of one call.
type topicMaker struct {
	cfg      *config.Config
	flags    topicsFlags
	client   *kafkaio.Client
	existing map[string]int // and their partitions
	rows     []topicRow
}

func (s *state) createTopics(ctx context.Context, cfg *config.Config, f topicsFlags) error {
	client, err := app.Kafka(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	m := &topicMaker{cfg: cfg, flags: f, client: client}
	if err := m.look(limited); err != nil {
		return kafkaError(ctx, err)
	}
	err = m.run(limited)
	if printed := m.print(s); err == nil {
		err = printed
	}
	return stopped(ctx, err)
}

// look finds the topics that exist. It waits until Kafka answers or ctx ends.
func (m *topicMaker) look(ctx context.Context) error {
	names := topics.Names(m.cfg)
	partitions, err := m.client.WaitForTopics(ctx, names...)
	missing, some := errors.AsType[*kafkaio.MissingTopicsError](err)
	if !some {
		m.existing = partitions
		return err
	}
	there := slices.DeleteFunc(names, func(name string) bool { return slices.Contains(missing.Topics, name) })
	if len(there) > 0 {
		m.existing, err = m.client.Partitions(ctx, there...)
		return err
	}
	return nil
}

// run makes the topics. The dead letters come after the jobs, whose limit theirs is made of.
func (m *topicMaker) run(ctx context.Context) error {
	var jobs, others []topics.Topic
	for _, t := range topics.Of(m.cfg) {
		if t.Kind == topics.Jobs {
			jobs = append(jobs, t)
		} else {
			others = append(others, t)
		}
	}
	err := m.make(ctx, m.wanted(jobs, 0))
	if err == nil {
		err = m.make(ctx, m.wanted(others, topics.LetterLimit(m.largestJob(ctx))))
	}
	return m.failure(err, len(jobs)+len(others))
}

func (m *topicMaker) failure(err error, total int) error {
	if err == nil {
		return nil
	}
	err = errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) // one of several topics, on one line
	err = withHint(err, "what was made stays; call it again when the cause is gone")
	if made := slices.ContainsFunc(m.rows, func(r topicRow) bool { return r.State == "made" }); made {
		return fmt.Errorf("%w: %w", &partialError{total - len(m.rows), total, "topics"}, err)
	}
	return err
}

// wanted returns topics as they should be. letterLimit is the limit of dead letters.
func (m *topicMaker) wanted(some []topics.Topic, letterLimit int) []wantedTopic {
	retention := map[topics.Kind]time.Duration{
		topics.Jobs: m.flags.jobs, topics.DeadLetters: m.flags.letters, topics.Outcomes: m.flags.outcomes,
	}
	var wanted []wantedTopic
	for _, t := range some {
		wanted = append(wanted, wantedTopic{
			Topic: kafkaio.Topic{
				Name: t.Name, Partitions: m.flags.partitions, Replicas: m.flags.replicas,
				Config: t.Kind.Settings(retention[t.Kind], letterLimit),
			},
			findings: func(settings map[string]string) []topics.Finding {
				return t.Kind.Findings(settings, m.cfg.ClaimRetention, letterLimit)
			},
		})
	}
	return wanted
}

// largestJob is the largest max.message.bytes of the jobs topics.
func (m *topicMaker) largestJob(ctx context.Context) int {
	largest := 0
	for _, name := range m.cfg.JobsTopics() {
		limit := kafkaio.DefaultMaxMessageBytes
		if m.existing[name] > 0 || !m.flags.dryRun {
			limit = m.client.MaxMessageBytes(ctx, name)
		}
		largest = max(largest, limit)
	}
	return largest
}

// make makes those of the topics that do not exist, and notes a row for each that was dealt with.
func (m *topicMaker) make(ctx context.Context, wanted []wantedTopic) error {
	var missing []kafkaio.Topic
	for _, t := range wanted {
		if m.existing[t.Name] == 0 {
			missing = append(missing, t.Topic)
		}
	}
	var made []string
	var err error
	if len(missing) > 0 && !m.flags.dryRun {
		made, err = m.client.CreateTopics(ctx, missing...)
	}
	for _, t := range wanted {
		row := topicRow{Topic: t.Name, Partitions: t.Partitions, Config: t.Config, Warnings: []string{}}
		switch {
		case m.existing[t.Name] > 0:
			row.State, row.Partitions = "exists", m.existing[t.Name]
			m.compare(ctx, t, &row)
		case slices.Contains(made, t.Name):
			row.State = "made"
		case m.flags.dryRun:
			row.State = "missing"
		case err == nil: // somebody else made it meanwhile
			row.State = "exists"
			m.compare(ctx, t, &row)
		default:
			continue
		}
		m.rows = append(m.rows, row)
	}
	return err
}

// compare reads the configuration of a topic that exists.
func (m *topicMaker) compare(ctx context.Context, t wantedTopic, row *topicRow) {
	config, err := m.client.TopicConfig(ctx, t.Name, topics.Cleanup, topics.MaxMessage, topics.Retention, topics.Segment)
	if err != nil {
		row.Config = map[string]string{}
		row.Warnings = []string{"its configuration cannot be checked: " + err.Error()}
		return
	}
	row.Config = config
	for _, f := range t.findings(config) {
		row.Warnings = append(row.Warnings, f.Text)
	}
}

func (m *topicMaker) print(s *state) error {
	for _, row := range m.rows {
		for _, warning := range row.Warnings {
			_, _ = fmt.Fprintf(s.stderr, "worker: warning: topic %s: %s\n", row.Topic, oneLine(warning))
		}
	}
	return printRecords(s, m.rows,
		column[topicRow]{"topic", func(r topicRow) string { return r.Topic }},
		column[topicRow]{"state", func(r topicRow) string { return r.State }},
		column[topicRow]{"partitions", func(r topicRow) string { return strconv.Itoa(r.Partitions) }},
		column[topicRow]{"cleanup", func(r topicRow) string { return orDash(r.Config[topics.Cleanup]) }},
		column[topicRow]{"retention", func(r topicRow) string { return orDash(topics.KeptText(r.Config)) }},
		column[topicRow]{"max message", func(r topicRow) string { return orDash(r.Config[topics.MaxMessage]) }},
	)
}
