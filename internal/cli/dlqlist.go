package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/outcome"
)

// pageRows is how many rows a table has where --limit does not say.
const pageRows = 50

const dlqListLong = `List dead letters, those that failed last first. Without --status those that are open.

A table has 50 rows, unless --limit says otherwise, and --page goes on; how many there are in all is told on
stderr. -o json prints all, a line for each: id, status, reason, error_code, http_status, idempotent_id,
complaint_id, mchid (as the job names it), attempts, maybe_sent, failed_at, first_failed_at, replay_count,
replay_id, source, resolution (replay_id, by, at, note).`

func newDLQListCommand(s *state) *cobra.Command {
	var filter letterFilter
	var limit, page int
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "list dead letters",
		Long:  dlqListLong,
		Example: "  worker dlq list\n" +
			"  worker dlq list --reason rejected --since 24h --page 2\n" +
			"  worker dlq list --status all -o json | jq -r .idempotent_id",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 || page < 1 {
				return usagef("--limit must be at least 0, --page at least 1")
			}
			wanted, err := filter.read(s.now(), deadletter.Statuses()...)
			if err != nil {
				return err
			}
			return s.withDesk(cmd, false, wanted.Since, func(d *letterDesk) error {
				return d.list(d.index.Select(&wanted), limit, page)
			})
		},
	}
	filter.addTo(s, cmd, string(deadletter.StatusOpen), deadletter.Statuses()...)
	cmd.Flags().IntVar(&limit, "limit", 0, "`rows` to print at most; 0 for 50 in a table, and all as JSON")
	cmd.Flags().IntVar(&page, "page", 1, "`page` of so many rows")
	s.useLetterSettings(cmd)
	return cmd
}

// useLetterSettings offers the settings of a dlq command that needs Kafka alone.
func (s *state) useLetterSettings(cmd *cobra.Command, groups ...config.Group) {
	s.useSettings(cmd, append([]config.Group{config.GroupKafka}, groups...)...)
	showSettings(cmd, "topic-dead-letters", "topic-resolutions", "validation", "start-timeout")
}

// withDesk calls do with the letters that failed since a time.
func (s *state) withDesk(cmd *cobra.Command, withRedis bool, since time.Time, do func(*letterDesk) error) error {
	d, err := s.openDesk(cmd, withRedis)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.loadIndex(cmd.Context(), since); err != nil {
		return err
	}
	return do(d)
}

// letterRow is a line of `dlq list -o json`. Every field is always there.
type letterRow struct {
	ID            string         `json:"id"`
	Status        string         `json:"status"`
	Reason        string         `json:"reason"`
	ErrorCode     string         `json:"error_code"`
	HTTPStatus    int            `json:"http_status"`
	IdempotentID  string         `json:"idempotent_id"`
	ComplaintID   string         `json:"complaint_id"`
	MchID         string         `json:"mchid"`
	Attempts      int            `json:"attempts"`
	MaybeSent     bool           `json:"maybe_sent"`
	FailedAt      string         `json:"failed_at"`
	FirstFailedAt string         `json:"first_failed_at"`
	ReplayCount   int            `json:"replay_count"`
	ReplayID      string         `json:"replay_id"`
	Source        outcome.Source `json:"source"`
	Resolution    resolutionRow  `json:"resolution"`
}

// resolutionRow says what was done about a letter; all is empty where nothing was.
type resolutionRow struct {
	ReplayID string `json:"replay_id"`
	By       string `json:"by"`
	At       string `json:"at"`
	Note     string `json:"note"`
}

func (d *letterDesk) row(l *deadletter.Letter) letterRow {
	r := d.index.Resolution(l)
	return letterRow{
		ID: l.ID.String(), Status: string(r.Status), Reason: string(l.Reason), ErrorCode: l.ErrorCode, HTTPStatus: l.HTTPStatus,
		IdempotentID: l.IdempotentID, ComplaintID: l.ComplaintID, MchID: l.MchID, Attempts: l.Attempts, MaybeSent: l.MaybeSent,
		FailedAt: formatTime(l.FailedAt), FirstFailedAt: formatTime(l.FirstFailed), ReplayCount: l.ReplayCount, ReplayID: l.ReplayID,
		Source:     outcome.Source{Topic: l.Source.Topic, Partition: l.Source.Partition, Offset: l.Source.Offset},
		Resolution: resolutionRow{ReplayID: r.ReplayID, By: r.By, At: r.At, Note: r.Note},
	}
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

func (d *letterDesk) list(letters []*deadletter.Letter, limit, page int) error {
	slices.SortFunc(letters, func(a, b *deadletter.Letter) int {
		return cmp.Or(b.FailedAt.Compare(a.FailedAt), cmp.Compare(a.ID.Partition, b.ID.Partition), cmp.Compare(b.ID.Offset, a.ID.Offset))
	})
	total := len(letters)
	if limit == 0 && d.s.output == outputTable {
		limit = pageRows
	}
	first := 0
	if limit > 0 {
		first = min((page-1)*limit, total)
		letters = letters[first:min(first+limit, total)]
	}
	rows := make([]letterRow, len(letters))
	for i, l := range letters {
		rows[i] = d.row(l)
	}
	err := printRecords(d.s, rows,
		column[letterRow]{"id", func(r letterRow) string { return r.ID }},
		column[letterRow]{"status", func(r letterRow) string { return r.Status }},
		column[letterRow]{"failed at", func(r letterRow) string { return r.FailedAt }},
		column[letterRow]{"reason", func(r letterRow) string { return orDash(r.Reason) }},
		column[letterRow]{"code", func(r letterRow) string { return orDash(r.ErrorCode) }},
		column[letterRow]{"http", func(r letterRow) string { return orDash(orNothing(r.HTTPStatus)) }},
		column[letterRow]{"complaint_id", func(r letterRow) string { return orDash(r.ComplaintID) }},
		column[letterRow]{"idempotent_id", func(r letterRow) string { return orDash(r.IdempotentID) }},
		column[letterRow]{"attempts", func(r letterRow) string { return strconv.Itoa(r.Attempts) }},
		column[letterRow]{"replays", func(r letterRow) string { return strconv.Itoa(r.ReplayCount) }},
	)
	if err == nil && d.s.output == outputTable {
		d.tellPage(first, len(rows), total, page)
	}
	return err
}

func orNothing(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (d *letterDesk) tellPage(first, shown, total, page int) {
	switch {
	case shown == 0 && first > 0:
		_, _ = fmt.Fprintf(d.s.stderr, "worker: %d dead letters in all, fewer than page %d begins with\n", total, page)
	case shown == total:
		_, _ = fmt.Fprintf(d.s.stderr, "worker: %d dead letters\n", total)
	case first+shown == total:
		_, _ = fmt.Fprintf(d.s.stderr, "worker: %d to %d of %d dead letters\n", first+1, first+shown, total)
	default:
		_, _ = fmt.Fprintf(d.s.stderr, "worker: %d to %d of %d dead letters; --page %d goes on\n",
			first+1, first+shown, total, page+1)
	}
}
