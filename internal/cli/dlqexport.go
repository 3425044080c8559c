package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/replay"
)

const dlqExportLong = `Print dead letters as NDJSON, in the order in which their jobs stood. Without --status those that are open.

A line has what ` + "`dlq list -o json`" + ` has, and: message (what was wrong), request_id, key and value (of the
job, null where it had none), headers (a list of name and value). What is no UTF-8 is told in base64, as
key_base64 and the like, and the other is null then. The text of the replies is in it, whole.

--jobs prints the jobs alone, a line each, to be changed and given to ` + "`worker enqueue`" + `. Those that are no JSON
object are left out with a warning.`

func newDLQExportCommand(s *state) *cobra.Command {
	var filter letterFilter
	var jobs bool
	cmd := &cobra.Command{
		Use:   "export [PARTITION/OFFSET...] [flags]",
		Short: "print dead letters with their jobs, as NDJSON",
		Long:  dlqExportLong,
		Example: "  worker dlq export > letters.ndjson\n" +
			"  worker dlq export --reason invalid_job --jobs | sed s/TEXTT/TEXT/ | worker enqueue",
		ValidArgsFunction: completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := parseIDs(args)
			if err != nil {
				return err
			}
			wanted, err := filter.read(s.now(), deadletter.Statuses()...)
			if err != nil {
				return err
			}
			if len(ids) > 0 && !wanted.IsZero() {
				return errIDsAndFilters()
			}
			return s.withDesk(cmd, false, wanted.Since, func(d *letterDesk) error {
				letters, err := d.find(ids)
				if err == nil && len(ids) == 0 {
					letters = d.index.Select(&wanted)
				}
				if err != nil {
					return err
				}
				return d.export(cmd, letters, jobs)
			})
		},
	}
	filter.addTo(s, cmd, string(deadletter.StatusOpen), deadletter.Statuses()...)
	cmd.Flags().BoolVar(&jobs, "jobs", false, "print the jobs alone")
	s.useLetterSettings(cmd)
	return cmd
}

func errIDsAndFilters() error {
	return usagef("letters are given by their PARTITION/OFFSET and by filters; give one or the other")
}

// exportedLetter is a line of `dlq export`.
type exportedLetter struct {
	letterRow
	Message     string           `json:"message"`
	RequestID   string           `json:"request_id"`
	Key         *string          `json:"key"`
	KeyBase64   []byte           `json:"key_base64,omitempty"`
	Value       *string          `json:"value"`
	ValueBase64 []byte           `json:"value_base64,omitempty"`
	Headers     []exportedHeader `json:"headers"`
}

type exportedHeader struct {
	Name        string  `json:"name"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func headersOf(record *job.Delivery) []exportedHeader {
	headers := make([]exportedHeader, len(record.Headers))
	for i, h := range record.Headers {
		headers[i].Name = h.Key
		headers[i].Value, headers[i].ValueBase64 = asText(h.Value)
	}
	return headers
}

// asText returns bytes as text where they are UTF-8, else as they are; null is neither.
func asText(b []byte) (text *string, raw []byte) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	}
	return nil, b
}

func (d *letterDesk) export(cmd *cobra.Command, letters []*deadletter.Letter, jobsOnly bool) error {
	ctx := cmd.Context()
	return replay.EachLetter(ctx, d.kafka, d.cfg.TopicDeadLetters, d.cfg.StartTimeout, letters,
		func(l *deadletter.Letter, record *job.Delivery) error {
			if jobsOnly {
				return d.exportJob(l, record)
			}
			full := deadletter.Parse(record, job.Validation(d.cfg.Validation))
			line := exportedLetter{letterRow: d.row(l), Message: full.Message, RequestID: full.RequestID, Headers: headersOf(record)}
			line.Key, line.KeyBase64 = asText(record.Key)
			line.Value, line.ValueBase64 = asText(record.Value)
			return printJSON(d.s, line)
		})
}

func (d *letterDesk) exportJob(l *deadletter.Letter, record *job.Delivery) error {
	var line bytes.Buffer
	value := bytes.TrimLeft(record.Value, jsonWhite)
	if isObject := bytes.HasPrefix(value, []byte("{")) && json.Compact(&line, value) == nil; !isObject {
		_, _ = fmt.Fprintf(d.s.stderr, "worker: warning: letter %s is left out: its job is no JSON object\n", l.ID)
		return nil
	}
	line.WriteByte('\n')
	if _, err := d.s.stdout.Write(line.Bytes()); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
